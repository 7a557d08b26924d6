"""The messages between coordinator and workers: pickled tuples over point-to-point, sent without blocking.

    down (tag ``DOWN``)   ("run", request, [task, ...], parcel of arguments)
                          ("cancel", request, task, or None for all)
                          ("stop", session)
    up (tag ``UP``)       ("done", request, packed outcomes, [dropped task, ...])
                          ("bye", session), a worker's last message

MPI keeps the order of messages between two ranks, so a cancel never overtakes the run that it cancels, and nothing
follows a bye. Requests and sessions have numbers of their own, so that what is late is told by its number.
"""

from __future__ import annotations

import pickle
from typing import Any

from mpi4py import MPI

from primitives.inbox import Mail

DOWN, UP = 7101, 7102


def pack(message: tuple[Any, ...]) -> bytes:
    """The bytes of a message."""
    return pickle.dumps(message, protocol=5)


def unpack(mail: Mail | None) -> tuple[int, Any] | None:
    """The source of a message, and what it says."""
    return None if mail is None else (mail[0], pickle.loads(mail[1].data))


def failed_ranks(comm: MPI.Comm) -> list[int]:
    """Ranks of ``comm`` that the MPI knows to be dead (ULFM); acknowledges them, so that receives go on."""
    comm.Ack_failed()
    dead, everybody = comm.Get_failed(), comm.Get_group()
    try:
        return list(MPI.Group.Translate_ranks(dead, list(range(dead.Get_size())), everybody))
    finally:
        dead.Free()
        everybody.Free()
