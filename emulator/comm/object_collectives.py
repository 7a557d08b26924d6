"""Lower-case collectives of pickled objects; as in mpi4py, the sizes are sent before the bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.comm.collectives import Collectives
from emulator.comm.lazy_numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TAG = 1


class ObjectCollectives(Collectives):
    """barrier, bcast, gather, scatter, allgather, alltoall, reduce, allreduce, scan, exscan of Python objects."""

    def barrier(self) -> None:
        self.Barrier()

    def bcast(self, obj: Any, root: int = 0) -> Any:
        root = self._check_root(root)
        mine = self._rank == root
        data = _dump(obj) if mine else np.empty(0, np.uint8)
        size = np.array([data.size], np.int64)
        self._a.broadcast(self.hidden, size, root)
        if not mine:
            data = np.empty(int(size[0]), np.uint8)
        self._a.broadcast(self.hidden, data, root)
        return _load(data) if not mine else obj

    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None:
        root = self._check_root(root)
        data = _dump(sendobj)
        sizes = np.zeros(self._size, np.int64)
        self._a.gather(self.hidden, np.array([data.size], np.int64), sizes if self._rank == root else None, root)
        whole = np.empty(int(sizes.sum()), np.uint8)
        self._a.gather_v(self.hidden, data, whole, sizes.tolist(), None, root)
        return _load_all(whole, sizes) if self._rank == root else None

    def scatter(self, sendobj: Sequence[Any] | None, root: int = 0) -> Any:
        root = self._check_root(root)
        size = np.empty(1, np.int64)
        if self._rank != root:
            self._a.scatter(self.hidden, None, size, root)
            data = np.empty(int(size[0]), np.uint8)
            self._a.scatter_v(self.hidden, None, data, root=root)
            return _load(data)
        parts = [_dump(one) for one in self._one_each(sendobj)]
        sizes = np.array([part.size for part in parts], np.int64)
        self._a.scatter(self.hidden, sizes, size, root)
        data = np.empty(int(size[0]), np.uint8)
        self._a.scatter_v(self.hidden, np.concatenate(parts), data, sizes.tolist(), None, root)
        return _load(data)

    def allgather(self, sendobj: Any) -> list[Any]:
        data = _dump(sendobj)
        sizes = np.empty(self._size, np.int64)
        self._a.all_gather(self.hidden, np.array([data.size], np.int64), sizes)
        whole = np.empty(int(sizes.sum()), np.uint8)
        self._a.all_gather_v(self.hidden, data, whole, sizes.tolist())
        return _load_all(whole, sizes)

    def alltoall(self, sendobj: Sequence[Any]) -> list[Any]:
        parts = [_dump(one) for one in self._one_each(sendobj)]
        sizes = np.array([part.size for part in parts], np.int64)
        theirs = np.empty(self._size, np.int64)
        self._a.all_to_all(self.hidden, sizes, theirs)
        whole = np.empty(int(theirs.sum()), np.uint8)
        self._a.all_to_all_v(self.hidden, np.concatenate(parts), sizes.tolist(), whole, theirs.tolist())
        return _load_all(whole, theirs)

    def _one_each(self, objects: Sequence[Any] | None) -> Sequence[Any]:
        if objects is None or len(objects) != self._size:
            raise ValueError(
                f"expecting {self._size} items, one per rank, got {None if objects is None else len(objects)}"
            )
        return objects

    # -- reductions of objects keep the order of the ranks, because `op` may not be commutative

    def reduce(self, sendobj: Any, op: Callable[[Any, Any], Any] | MPI.Op = MPI.SUM, root: int = 0) -> Any:
        root = self._check_root(root)
        result = self._reduce_to_first(sendobj, op)
        if root and self._rank == 0:
            self.hidden.send(result, root, _TAG)
        elif root and self._rank == root:
            result = self.hidden.recv(None, 0, _TAG)
        return result if self._rank == root else None

    def _reduce_to_first(self, value: Any, op: Any) -> Any:
        distance = 1
        while distance < self._size:
            if self._rank & distance:
                self.hidden.send(value, self._rank - distance, _TAG)
                return None
            if self._rank + distance < self._size:
                value = op(value, self.hidden.recv(None, self._rank + distance, _TAG))
            distance *= 2
        return value

    def allreduce(self, sendobj: Any, op: Callable[[Any, Any], Any] | MPI.Op = MPI.SUM) -> Any:
        return self.bcast(self._reduce_to_first(sendobj, op), 0)

    def scan(self, sendobj: Any, op: Callable[[Any, Any], Any] | MPI.Op = MPI.SUM) -> Any:
        return self._prefix(sendobj, op)[1]

    def exscan(self, sendobj: Any, op: Callable[[Any, Any], Any] | MPI.Op = MPI.SUM) -> Any:
        return self._prefix(sendobj, op)[0]

    def _prefix(self, value: Any, op: Any) -> tuple[Any, Any]:
        """The reduction of all ranks before this one (None on rank 0), and of all up to and including it."""
        before, total, window = None, value, value
        distance = 1
        while distance < self._size:
            send = None
            if self._rank + distance < self._size:
                send = self.hidden.isend(window, self._rank + distance, _TAG)
            if self._rank >= distance:
                theirs = self.hidden.recv(None, self._rank - distance, _TAG)
                before = theirs if before is None else op(theirs, before)
                window = op(theirs, window)
                total = op(theirs, total)
            if send is not None:
                send.wait()
            distance *= 2
        return before, total


def _dump(obj: Any) -> NDArray[np.uint8]:
    return np.frombuffer(MPI.pickle.dumps(obj), np.uint8)


def _load(data: NDArray[np.uint8]) -> Any:
    return MPI.pickle.loads(data)


def _load_all(whole: NDArray[np.uint8], sizes: NDArray[np.int64]) -> list[Any]:
    ends = np.cumsum(sizes)
    return [_load(whole[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
