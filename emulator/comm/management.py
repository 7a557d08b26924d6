"""Communicator management, attributes, error handlers and failures: calls that cost no emulated time.

Behind each emulated communicator there is a real one, which executes these calls. The context number of a new
communicator is a hash of the calls that made it, so that making one sends no message beyond the real one's.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from mpi4py import MPI

from emulator.carrier import Carrier
from emulator.comm.point_to_point import PointToPoint
from emulator.comm.refused import NotEmulated


def context_number(*parts: Any) -> int:
    """Compute a context number from the calls that made the communicator: the same on every rank, without a message."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


class Management(PointToPoint):
    """Duplicates, splits, attributes, error handlers and failures of a communicator."""

    _algorithms: Any
    _hidden: Any
    _made: int
    _buffer: Any
    _groups: dict[tuple[int, ...], int]
    carrier: Carrier

    def _child(self, real: MPI.Comm, *how: Any) -> Any:
        """Wrap a real communicator that was made from this one; COMM_NULL is returned as it is."""
        self._made += 1
        if real == MPI.COMM_NULL:
            return real
        context = context_number(self.context, self._made, *how)
        members = self._members if how == ("dup",) else None
        return type(self)(self.engine, real, context, self._algorithms, members)  # type: ignore[call-arg]

    def Dup(self, info: MPI.Info | None = None) -> Any:
        return self._child(self._real.Dup(info), "dup")

    Dup_with_info = Clone = Dup

    def Split(self, color: int = 0, key: int = 0) -> Any:
        return self._child(self._real.Split(color, key), "split", int(color))

    def Split_type(self, split_type: int, key: int = 0, info: MPI.Info = MPI.INFO_NULL) -> Any:
        """Split into the ranks of each emulated host (COMM_TYPE_SHARED)."""
        if split_type == MPI.UNDEFINED:
            return self._child(self._real.Split(MPI.UNDEFINED, key))
        if split_type != MPI.COMM_TYPE_SHARED:
            raise NotEmulated("Split_type", "of any type but COMM_TYPE_SHARED, which means the emulated host")
        return self.Split(self.engine.host, key)

    def Create(self, group: MPI.Group) -> Any:
        return self._child(self._real.Create(group), "create")

    def Create_group(self, group: MPI.Group, tag: int = 0) -> Any:
        members = self.engine.ranks_of(group)
        real = self._real.Create_group(group, tag)
        # Only the members call this, so that it must not count as something that all of the communicator made.
        count = self._groups.get((tag, *members), 0) + 1
        self._groups[(tag, *members)] = count
        self._made -= 1
        return self._child(real, "group", tag, members, count)

    def Free(self) -> None:
        self._drop()
        self._real.Free()

    def Disconnect(self) -> None:
        self._drop()
        self._real.Disconnect()

    free = Free

    def _drop(self) -> None:
        self.carrier.free()
        self._freed = True
        self._forget_messages()

    def Compare(self, comm: Any) -> int:
        if comm is self:
            return MPI.IDENT
        return self._real.Compare(comm._real if isinstance(comm, Management) else comm)

    def Is_inter(self) -> bool:
        return False

    def Is_intra(self) -> bool:
        return True

    is_inter, is_intra, is_topo = False, True, False

    def Get_topology(self) -> int:
        return MPI.UNDEFINED

    topology = MPI.UNDEFINED

    # -- failures

    def _forget_messages(self) -> None:
        self.engine.drop_context(self.context)
        if self._hidden is not None:
            self.engine.drop_context(self._hidden.context)

    def Revoke(self) -> None:
        """Revoke, as in MPI; posted receives are withdrawn, because the program may reuse their buffers."""
        try:
            self._real.Revoke()
            self.engine.wake_all()
        finally:  # it may be revoked here even if the revocation did not reach every rank
            if self._real.Is_revoked():
                self._forget_messages()

    def Ack_failed(self, num_to_ack: int | None = None) -> int:
        number = self._real.Ack_failed(num_to_ack)
        failed = self._real.Get_failed()
        dead = self.engine.ranks_of(failed)[:number]
        failed.Free()
        self._acknowledged.update(dead)
        self.engine.dead.update(dead)
        return number

    def Shrink(self) -> Any:
        try:
            real = self._real.Shrink()
        except MPI.Exception:
            self._made += 1  # all ranks try again, and context numbers must stay equal on all of them
            raise
        return self._child(real, "shrink")

    # -- buffered sends: the emulator copies them, and needs no buffer of the program

    def Attach_buffer(self, buf: Any) -> None:
        self._buffer = buf

    def Detach_buffer(self) -> Any:
        buffer, self._buffer = self._buffer, None
        return buffer

    def Flush_buffer(self) -> None:
        """Do nothing: a buffered send leaves at once."""


def _forwarded(name: str) -> Any:
    """Make a method that calls the real communicator's method of this name."""

    @functools.wraps(getattr(MPI.Intracomm, name))
    def method(self: Management, *arguments: Any, **named: Any) -> Any:
        return getattr(self._real, name)(*arguments, **named)

    return method


_FORWARDED = (
    "Abort Agree Call_errhandler Delete_attr Get_attr Get_errhandler Get_failed Get_group Get_info Get_name Iagree "
    "Is_revoked Set_attr Set_errhandler Set_info Set_name"
)
for _name in _FORWARDED.split():
    setattr(Management, _name, _forwarded(_name))
for _name in ("group", "info", "name"):
    setattr(Management, _name, getattr(MPI.Comm, _name))
