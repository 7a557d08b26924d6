"""A user's program on simulated ranks: what each rank has for itself, blocking calls, and other orders of messages."""
