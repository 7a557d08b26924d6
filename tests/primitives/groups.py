"""What the tests of collectives share: groups of one job's ranks, inputs that are known everywhere, and oracles."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import numpy as np
from mpi4py import MPI

Array = np.ndarray[Any, Any]

GROUPS = [1, 2, 3, 5, 7, 8, 13]
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g", "F", "D", "G", ">f8"]
OPERATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "sum": np.add,
    "prod": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
}


@contextlib.contextmanager
def group(comm: MPI.Intracomm, p: int) -> Iterator[MPI.Intracomm | None]:
    """The first p ranks as a communicator; None on the others."""
    part = comm.Split(0 if comm.Get_rank() < p else MPI.UNDEFINED, comm.Get_rank())
    if part == MPI.COMM_NULL:
        yield None
    else:
        yield part
        part.Free()


def sizes(p: int) -> list[int]:
    """Numbers of elements where cutting into p blocks can go wrong."""
    return sorted({0, 1, p - 1, p, p + 1, 101, 4 * p})


def values(rank: int, n: int, dtype: str, operation: str = "sum") -> Array:
    """What that rank puts in: small whole numbers, so that every order of reduction gives the same bits."""
    index = np.arange(n) + 3 * rank
    if dtype == "?":
        return index % 3 == 0
    small = np.where(index % 5 == 0, 2, 1) if operation == "prod" else index % 7
    array = small.astype(dtype)
    return array * (1 + 2j) if np.dtype(dtype).kind == "c" and operation in ("sum", "min", "max") else array


def noise(rank: int, n: int, dtype: str = "f8") -> Array:
    """Numbers whose sum depends on the order, known on every rank."""
    return _noise(rank, n, dtype).copy()


@functools.lru_cache(128)  # simulated ranks share a process and ask for the same
def _noise(rank: int, n: int, dtype: str) -> Array:
    generator = np.random.default_rng([rank, n])
    return (generator.standard_normal(n) * 10.0 ** generator.integers(-3, 4, n)).astype(dtype)


@functools.lru_cache(64)
def reduced(p: int, n: int, dtype: str, operation: str) -> Array:
    """The exact result of reducing everybody's `values`."""
    parts = [values(rank, n, dtype, operation) for rank in range(p)]
    result = reduce(OPERATIONS[operation], parts).astype(dtype)
    result.flags.writeable = False
    return result


def same_bits(comm: MPI.Intracomm, array: Array) -> bool:
    """Whether the array has the same bytes as on the rank before, those that only fill up a long double left out.

    Asked on every rank, and by plain messages round a ring: no collective of those under test, and few to simulate.
    """
    if array.dtype.char in "gG":
        array = np.ascontiguousarray(array).view("u1").reshape(-1, 16)[:, :10]
    mine = np.frombuffer(hashlib.sha256(array.tobytes()).digest(), "u1")
    theirs = np.empty_like(mine)
    comm.Sendrecv(mine, (comm.rank + 1) % comm.size, 0, theirs, (comm.rank - 1) % comm.size, 0)
    return np.array_equal(mine, theirs)
