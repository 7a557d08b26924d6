"""mpi4py's blocking collectives on buffers, made of messages on the emulated network.

The messages have a context of their own, so that no receive of the program, not even with ANY_TAG, matches them.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from emulator.comm.blocks import Vector, given, operand, wanted
from emulator.comm.lazy_numpy import np

IN_PLACE = MPI.IN_PLACE


class Collectives:
    """Barrier, Bcast, Gather(v), Scatter(v), Allgather(v), Alltoall(v), (All)Reduce(_scatter), Scan, Exscan.

    Attributes
    ----------
    hidden : a communicator of the same ranks whose messages are apart; it carries the collectives
    """

    hidden: Any
    _a: Any  # the module with the algorithms
    _size: int
    _rank: int

    def _check_root(self, root: int) -> int:
        """Return the root as an int; raises MPI's error if there is no such rank."""
        raise NotImplementedError

    def Barrier(self) -> None:
        self._a.barrier(self.hidden)

    def Bcast(self, buf: Any, root: int = 0) -> None:
        root = self._check_root(root)
        if self._rank == root:
            self._a.broadcast(self.hidden, given(buf), root)
            return
        data, into = wanted(buf)
        self._a.broadcast(self.hidden, data, root)
        into.finish(data.size)

    def Gather(self, sendbuf: Any, recvbuf: Any, root: int = 0) -> None:
        root = self._check_root(root)
        if self._rank != root:
            self._a.gather(self.hidden, given(sendbuf), None, root)
            return
        data, into = wanted(recvbuf, self._size)
        mine = self._block(data) if sendbuf is IN_PLACE else given(sendbuf)
        self._a.gather(self.hidden, mine, data, root)
        into.finish(data.size)

    def Scatter(self, sendbuf: Any, recvbuf: Any, root: int = 0) -> None:
        root = self._check_root(root)
        if self._rank != root:
            data, into = wanted(recvbuf)
            self._a.scatter(self.hidden, None, data, root)
            into.finish(data.size)
            return
        whole = given(sendbuf, self._size)
        if recvbuf is IN_PLACE:
            self._a.scatter(self.hidden, whole, self._block(whole).copy(), root)
            return
        data, into = wanted(recvbuf)
        self._a.scatter(self.hidden, whole, data[: whole.size // self._size], root)
        into.finish(whole.size // self._size)

    def Allgather(self, sendbuf: Any, recvbuf: Any) -> None:
        data, into = wanted(recvbuf, self._size)
        mine = self._block(data) if sendbuf is IN_PLACE else given(sendbuf)
        self._a.all_gather(self.hidden, mine, data)
        into.finish(data.size)

    def Alltoall(self, sendbuf: Any, recvbuf: Any) -> None:
        data, into = wanted(recvbuf, self._size)
        whole = data.copy() if sendbuf is IN_PLACE else given(sendbuf, self._size)
        self._a.all_to_all(self.hidden, whole, data)
        into.finish(data.size)

    def _block(self, whole: Any) -> Any:
        share = whole.size // self._size
        return whole[self._rank * share : (self._rank + 1) * share]

    # -- vectors

    def Gatherv(self, sendbuf: Any, recvbuf: Any, root: int = 0) -> None:
        root = self._check_root(root)
        if self._rank != root:
            self._a.gather_v(self.hidden, given(sendbuf), root=root)
            return
        into = Vector(recvbuf, self._size, writable=True)
        mine = into.part(self._rank) if sendbuf is IN_PLACE else given(sendbuf)
        self._a.gather_v(self.hidden, mine, into.data, into.counts, into.displacements, root)
        into.finish()

    def Scatterv(self, sendbuf: Any, recvbuf: Any, root: int = 0) -> None:
        root = self._check_root(root)
        if self._rank != root:
            data, into = wanted(recvbuf)
            self._a.scatter_v(self.hidden, None, data, root=root)
            into.finish(data.size)
            return
        whole = Vector(sendbuf, self._size, writable=False)
        size = whole.counts[root]
        if recvbuf is IN_PLACE:
            kept = np.empty(size, np.uint8)
            self._a.scatter_v(self.hidden, whole.data, kept, whole.counts, whole.displacements, root)
            return
        data, into = wanted(recvbuf)
        self._a.scatter_v(self.hidden, whole.data, data[:size], whole.counts, whole.displacements, root)
        into.finish(size)

    def Allgatherv(self, sendbuf: Any, recvbuf: Any) -> None:
        into = Vector(recvbuf, self._size, writable=True)
        mine = into.part(self._rank) if sendbuf is IN_PLACE else given(sendbuf)
        self._a.all_gather_v(self.hidden, mine, into.data, into.counts, into.displacements)
        into.finish()

    def Alltoallv(self, sendbuf: Any, recvbuf: Any) -> None:
        into = Vector(recvbuf, self._size, writable=True)
        if sendbuf is IN_PLACE:
            source = Vector(recvbuf, self._size, writable=True)
            source.data = source.data.copy()
        else:
            source = Vector(sendbuf, self._size, writable=False)
        self._a.all_to_all_v(
            self.hidden, source.data, source.counts, into.data, into.counts, source.displacements, into.displacements
        )
        into.finish()

    # -- reductions

    def Reduce(self, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM, root: int = 0) -> None:
        root = self._check_root(root)
        if self._rank != root:
            self._a.reduce(self.hidden, operand(sendbuf), None, op, root)
            return
        out = operand(recvbuf, writable=True)
        mine = out if sendbuf is IN_PLACE else operand(sendbuf)
        self._a.reduce(self.hidden, mine, out[: mine.size], op, root)

    def Allreduce(self, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM) -> None:
        out = operand(recvbuf, writable=True)
        if sendbuf is IN_PLACE:
            self._a.all_reduce(self.hidden, out, IN_PLACE, op)
        else:
            mine = operand(sendbuf)
            self._a.all_reduce(self.hidden, mine, out[: mine.size], op)

    def Reduce_scatter(self, sendbuf: Any, recvbuf: Any, recvcounts: Any = None, op: Any = MPI.SUM) -> None:
        if sendbuf is IN_PLACE:
            out = operand(recvbuf, writable=True)
            mine = out.copy()
        else:
            mine, out = operand(sendbuf), operand(recvbuf, writable=True)
        counts = [int(count) for count in recvcounts] if recvcounts is not None else self._equal_counts(mine, out)
        self._a.reduce_scatter(self.hidden, mine[: sum(counts)], out[: counts[self._rank]], counts, op)

    def Reduce_scatter_block(self, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM) -> None:
        out = operand(recvbuf, writable=True)
        mine = out.copy() if sendbuf is IN_PLACE else operand(sendbuf, self._size)
        share = mine.size // self._size
        self._a.reduce_scatter(self.hidden, mine, out[:share], [share] * self._size, op)

    def _equal_counts(self, mine: Any, out: Any) -> list[int]:
        """Gather the size of each rank's receive buffer, as mpi4py does when no counts are given."""
        counts = np.empty(self._size, np.int64)
        self._a.all_gather(self.hidden, np.array([out.size], np.int64), counts)
        return [int(count) for count in counts]

    def Scan(self, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM) -> None:
        self._prefix_reduction(self._a.scan, sendbuf, recvbuf, op)

    def Exscan(self, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM) -> None:
        self._prefix_reduction(self._a.exscan, sendbuf, recvbuf, op)

    def _prefix_reduction(self, algorithm: Any, sendbuf: Any, recvbuf: Any, op: Any) -> None:
        out = operand(recvbuf, writable=True)
        mine = out.copy() if sendbuf is IN_PLACE else operand(sendbuf)
        algorithm(self.hidden, mine, out[: mine.size], op)
