"""Communicators of the surviving ranks, not built in MPI: their ranks and tags are translated to a parent's."""
