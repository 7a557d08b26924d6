"""Making and freeing communicators, names, attributes, error handlers and failures: what costs no emulated time.

A real communicator stands behind each emulated one, and does these things itself. New contexts are named by how
they came about, so that making a communicator sends no message beyond the real one's.
"""

from __future__ import annotations

import hashlib
from typing import Any

from mpi4py import MPI

from emulator.comm.point_to_point import PointToPoint
from emulator.comm.refused import NotEmulated


def context_number(*parts: Any) -> int:
    """Name a context by how it came about: the same number on every rank, without a message."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


class Management(PointToPoint):
    """The parts of MPI.Intracomm that concern the communicator itself."""

    _algorithms: Any
    _hidden: Any
    _made: int
    _buffer: Any

    def _child(self, real: MPI.Comm, *how: Any) -> Any:
        """Emulate a communicator that was made from this one; COMM_NULL stays what it is."""
        self._made += 1
        if real == MPI.COMM_NULL:
            return real
        context = context_number(self.context, self._made, *how)
        members = self._members if how == ("dup",) else None
        return type(self)(self.engine, real, context, self._algorithms, members)  # type: ignore[call-arg]

    def Dup(self, info: MPI.Info | None = None) -> Any:
        return self._child(self._real.Dup(info) if info is not None else self._real.Dup(), "dup")

    def Dup_with_info(self, info: MPI.Info) -> Any:
        return self._child(self._real.Dup_with_info(info), "dup")

    def Clone(self) -> Any:
        return self._child(self._real.Clone(), "dup")

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

    _groups: dict[tuple[int, ...], int]

    def Free(self) -> None:
        self._drop()
        self._real.Free()

    def Disconnect(self) -> None:
        self._drop()
        self._real.Disconnect()

    def free(self) -> None:
        self.Free()

    def _drop(self) -> None:
        raise NotImplementedError

    def Compare(self, comm: Any) -> int:
        if comm is self:
            return MPI.IDENT
        return self._real.Compare(comm._real if isinstance(comm, Management) else comm)

    def Get_group(self) -> MPI.Group:
        return self._real.Get_group()

    @property
    def group(self) -> MPI.Group:
        return self._real.Get_group()

    def Get_name(self) -> str:
        return self._real.Get_name()

    def Set_name(self, name: str) -> None:
        self._real.Set_name(name)

    @property
    def name(self) -> str:
        return self._real.Get_name()

    @name.setter
    def name(self, value: str) -> None:
        self._real.Set_name(value)

    def Get_info(self) -> MPI.Info:
        return self._real.Get_info()

    def Set_info(self, info: MPI.Info) -> None:
        self._real.Set_info(info)

    @property
    def info(self) -> MPI.Info:
        return self._real.Get_info()

    @info.setter
    def info(self, value: MPI.Info) -> None:
        self._real.Set_info(value)

    def Get_attr(self, keyval: int) -> Any:
        return self._real.Get_attr(keyval)

    def Set_attr(self, keyval: int, attrval: Any) -> None:
        self._real.Set_attr(keyval, attrval)

    def Delete_attr(self, keyval: int) -> None:
        self._real.Delete_attr(keyval)

    def Get_errhandler(self) -> MPI.Errhandler:
        return self._real.Get_errhandler()

    def Set_errhandler(self, errhandler: MPI.Errhandler) -> None:
        self._real.Set_errhandler(errhandler)

    def Call_errhandler(self, errorcode: int) -> None:
        self._real.Call_errhandler(errorcode)

    def Abort(self, errorcode: int = 0) -> Any:
        self._real.Abort(errorcode)

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
        """As MPI's; what was posted for receiving is withdrawn, whose buffers the program may use otherwise now."""
        try:
            self._real.Revoke()
        finally:  # here it may be revoked though the word of it did not reach everybody
            if self._real.Is_revoked():
                self._forget_messages()

    def Is_revoked(self) -> bool:
        return self._real.Is_revoked()

    def Get_failed(self) -> MPI.Group:
        return self._real.Get_failed()

    def Ack_failed(self, num_to_ack: int | None = None) -> int:
        number = self._real.Ack_failed(num_to_ack)
        failed = self._real.Get_failed()
        dead = self.engine.ranks_of(failed)[:number]
        failed.Free()
        self._acknowledged.update(dead)
        self.engine.dead.update(dead)
        return number

    def Agree(self, flag: int) -> int:
        return self._real.Agree(flag)

    def Iagree(self, flag: Any) -> MPI.Request:
        return self._real.Iagree(flag)

    def Shrink(self) -> Any:
        try:
            real = self._real.Shrink()
        except MPI.Exception:
            self._made += 1  # everybody tries again, and the names of contexts must stay the same on all
            raise
        return self._child(real, "shrink")

    # -- buffered sends: memory is never short here

    def Attach_buffer(self, buf: Any) -> None:
        self._buffer = buf

    def Detach_buffer(self) -> Any:
        buffer, self._buffer = self._buffer, None
        return buffer

    def Flush_buffer(self) -> None:
        """Wait until buffered sends have left; they leave as soon as they are made."""
