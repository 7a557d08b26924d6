"""A user's recovering loop: the checks before it, and what its program may do in it."""
