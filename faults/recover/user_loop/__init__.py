"""A user's own recovering loop: what is checked before it, and what its program may and may not do in it."""
