"""Jobs that measure alpha and beta (a message between two ranks) and gamma (a local reduction)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator.measure.series import Job

_ROUND_TRIPS = 50  # of a short message in one repetition: the time to start is negligible
_BYTES_PER_REPETITION = 1 << 18


_LARGEST = 4 << 20  # bytes: longer messages pay per byte what these pay, and take their time


def link_sizes(sizes: Sequence[int], seed: int) -> list[int]:
    """Sizes that reveal protocol switches: 0, the given ones, each plus and minus 1, and random ones between.

    The same for everything that measures a link, so that it gives the same terms: up to 4 MiB, if any is.

    Parameters
    ----------
    sizes : sizes in bytes
    seed : of the random sizes (log-uniform)
    """
    sizes = [n for n in sizes if n <= _LARGEST] if len({n for n in sizes if n <= _LARGEST}) > 1 else sizes
    largest = max(sizes)
    rng = np.random.default_rng(seed)
    between = np.exp(rng.uniform(0, np.log(max(largest, 2)), len(sizes))).astype(int).tolist()
    neighbours = [n + step for n in sizes for step in (-1, 0, 1)]
    return sorted({n for n in (0, *neighbours, *between) if 0 <= n <= largest})


def messages(comm: MPI.Intracomm | None, members: tuple[int, int], sizes: Sequence[int], *, one_way: bool) -> list[Job]:
    """Make one job per size for a message from the first to the second of two ranks; the same on every rank.

    Parameters
    ----------
    comm : a communicator of exactly these two ranks; None on all others
    members : the two ranks in the control communicator
    one_way : time one message one way: on an emulated clock, where all ranks start at the same instant. Else a
        repetition is a number of round trips, and a message's time is half of one.
    """
    if comm is None:
        return list(_messages_of_others(members, (*sizes,), one_way))
    jobs = []
    for n in sizes:
        job = _message(members, n, one_way)
        job.comm = comm
        job.once, job.check = _exchange(comm, n, one_way, _trips(n))
        jobs.append(job)
    return jobs


@functools.cache
def _messages_of_others(members: tuple[int, int], sizes: tuple[int, ...], one_way: bool) -> list[Job]:
    """The jobs on a rank that is neither of the two; simulated ranks share them."""
    return [_message(members, n, one_way) for n in sizes]


def _message(members: tuple[int, int], n: int, one_way: bool) -> Job:
    labels = {"source": members[0], "destination": members[1]}
    return Job("link", 2, n, members, parts=1 if one_way else 2 * _trips(n), labels=labels)


def _trips(n: int) -> int:
    """Number of round trips of n bytes in one repetition."""
    return max(1, min(_ROUND_TRIPS, _BYTES_PER_REPETITION // max(1, n)))


def _exchange(comm: MPI.Comm, n: int, one_way: bool, trips: int) -> tuple[Any, Any]:
    """This rank's operation in one repetition, and the check that counts its wrong bytes."""
    expected = _pattern(n)
    received = np.zeros(n, dtype=np.uint8)
    source, target = [expected, MPI.BYTE], [received, MPI.BYTE]
    first = comm.Get_rank() == 0

    def ask() -> None:
        for _ in range(trips):
            comm.Send(source, 1)
            comm.Recv(target, 1)

    def answer() -> None:
        for _ in range(trips):
            comm.Recv(target, 0)
            comm.Send(source, 0)

    def wrong() -> int:
        count = 0 if one_way and first else int((received != expected).sum())
        received[:] = 0
        return count

    if one_way:
        return functools.partial(comm.Send, source, 1) if first else functools.partial(comm.Recv, target, 0), wrong
    return (ask if first else answer), wrong


@functools.cache
def _pattern(size: int) -> NDArray[np.uint8]:
    """The bytes to send, read only, so that all jobs and all simulated ranks share them."""
    pattern = (np.arange(size) % 251).astype(np.uint8)
    pattern.flags.writeable = False
    return pattern


def reductions(comm: MPI.Intracomm | None, member: int, sizes: Sequence[int]) -> list[Job]:
    """Make one job per size for adding n bytes of float32 to n others, in place, on one rank.

    Parameters
    ----------
    comm : a communicator of this rank alone, whose clock is read; None on all others
    """
    jobs = []
    for n in sizes:
        repeats = _trips(n)
        job = Job("reduction", 1, n, (member,), parts=repeats)
        if comm is not None:
            job.comm, job.once = comm, _adding(n // 4, repeats)
        jobs.append(job)
    return jobs


def _adding(count: int, repeats: int) -> Any:
    mine, theirs = np.ones(count, dtype=np.float32), np.zeros(count, dtype=np.float32)

    def once() -> None:
        for _ in range(repeats):
            np.add(mine, theirs, out=mine)

    return once
