"""The search over all legal designs of a job, and how far its facts may drift before the best design changes."""
