"""Communicators of the surviving ranks: not built in MPI, but mapped to ranges of tags of their parent."""
