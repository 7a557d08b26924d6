"""A user's program on simulated ranks: each rank's own state, blocking calls, and other message orders."""
