"""Messages between coordinator and workers: pickled tuples, sent point-to-point without blocking.

    down (tag ``DOWN``)   ("run", request, [task, ...], parcel of arguments)
                          ("cancel", request, task, or None for all)
                          ("stop", session)
    up (tag ``UP``)       ("done", request, packed outcomes, [dropped task, ...])
                          ("bye", session), a worker's last message

MPI keeps the order of messages between two ranks, so a cancel never overtakes the run that it cancels, and nothing
follows a bye. Requests and sessions are numbered, so that a message of an earlier one is recognised.

A parcel carries many objects so that one that cannot be pickled or unpickled does not take the others with it:

    [1, 2.5, "x"]           plain objects share one pickle: some 20 ns each
    [1, Thing(), (2, 3)]    otherwise each has a pickle of its own, and comes out as it was or as `Damaged`
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

from mpi4py import MPI

from emulator.errors import UsageError
from primitives.inbox import Mail

DOWN, UP = 7101, 7102
_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})

Parcel = tuple[bool, list[Any]]


class Damaged(NamedTuple):
    """Replaces an object that could not be pickled or unpickled; ``text`` is the traceback."""

    text: str


def wrap(objects: Sequence[Any]) -> Parcel:
    """Pack ``objects`` so that the result can be pickled whatever they are."""
    if _PLAIN.issuperset(map(type, objects)):
        return True, list(objects)
    return False, [_pickled(item) for item in objects]


def unwrap(parcel: Parcel) -> list[Any]:
    """Unpack the objects of `wrap`, in order."""
    plain, items = parcel
    return items if plain else [_opened(item) for item in items]


def _pickled(item: Any) -> bytes | Damaged:
    try:
        return pickle.dumps(item, protocol=5)
    except Exception:
        return Damaged(f"a {type(item).__name__}, cannot be sent:\n{traceback.format_exc()}")


def _opened(item: bytes | Damaged) -> Any:
    if isinstance(item, Damaged):
        return item
    try:
        return pickle.loads(item)
    except Exception:
        return Damaged(f"cannot be read on arrival:\n{traceback.format_exc()}")


def pack(message: tuple[Any, ...]) -> bytes:
    """The bytes of a message."""
    return pickle.dumps(message, protocol=5)


def unpack(mail: Mail | None) -> tuple[int, Any] | None:
    """A message's source and its tuple."""
    return None if mail is None else (mail[0], pickle.loads(mail[1].data))


def failed_ranks(comm: MPI.Comm) -> list[int]:
    """Ranks of ``comm`` known to be dead (ULFM); acknowledges them, so that receives continue."""
    comm.Ack_failed()
    dead, group = comm.Get_failed(), comm.Get_group()
    try:
        return list(MPI.Group.Translate_ranks(dead, list(range(dead.Get_size())), group))
    finally:
        dead.Free()
        group.Free()


def check_root(comm: MPI.Comm, root: int) -> None:
    """Refuse a root that is not a rank of the communicator."""
    if not 0 <= root < comm.Get_size():
        raise UsageError(f"root must be a rank of the communicator, 0 to {comm.Get_size() - 1}, got {root}")
