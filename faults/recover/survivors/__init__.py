"""Communicators of the ranks that survived: made without building one in MPI, over ranges of tags of their parent."""
