"""Which MPI errors in a step a death may cause, and how often a step that fails without a death is repeated."""

from __future__ import annotations

import math

from mpi4py import MPI

from faults.agree.deaths import OF_A_DEATH

TRIES, _TRIES_REVOKED, _TRIES_ELSEWHERE = 2, 4, 8
_OF_PROGRAMS = {
    MPI.ERR_ARG, MPI.ERR_BUFFER, MPI.ERR_COMM, MPI.ERR_COUNT, MPI.ERR_GROUP, MPI.ERR_OP, MPI.ERR_RANK, MPI.ERR_ROOT,
    MPI.ERR_TAG, MPI.ERR_TRUNCATE, MPI.ERR_TYPE,
}  # fmt: skip
"""Classes of errors that no death causes; others, such as ERR_OTHER and ERR_IN_STATUS, have both kinds of causes."""


def tries(error: MPI.Exception, death_is_news: bool, revoked: bool) -> float:
    """How often a step may fail with this error.

    Parameters
    ----------
    death_is_news : a death is known that the ranks have not repaired yet
    revoked : another rank has given up the step, so that calls may fail with any error
    """
    of_death = error.Get_error_class() in OF_A_DEATH
    if death_is_news or (of_death and revoked):
        return math.inf
    if of_death or error.Get_error_class() == MPI.ERR_REQUEST:  # of another communicator, MPI.COMM_WORLD say
        return _TRIES_ELSEWHERE
    return _TRIES_REVOKED if revoked else TRIES


def can_be_of_program(error: MPI.Exception) -> bool:
    """Whether no death causes errors of this class."""
    return error.Get_error_class() in _OF_PROGRAMS
