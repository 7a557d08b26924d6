"""The schedule of a collective, recorded from its own `steps`, as one schedule for all ranks.

The schedule of a collective does not depend on data: which messages a rank sends, and what it waits for in between. It
is recorded on a communicator that carries nothing, for a few sampled ranks. If their schedules are the same but for the
peers, and each peer is ``(rank + shift) mod p`` or ``rank XOR mask`` with the same shift or mask on all of them, they
are taken to be the schedule of every rank. Where ranks send blocks of different sizes, blocks that travel round a ring
are known from the samples: a rank's k-th send is as long as the next rank's one after. All ranks are recorded where
sizes follow no such rule. That is evidence from samples, not proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.carrier import Carrier
from emulator.comm.buffers import outgoing
from emulator.errors import UsageError

SEND, RECEIVE, WAIT_SEND, WAIT_RECEIVE = range(4)
"""Kinds of steps."""
_MOST_ROWS = 2_000_000  # of all ranks' schedules: more would take longer to record than is worth it
Step = tuple[int, int, bool, Any]
"""Kind; shift or mask of the peer, or number of what is awaited; whether it is a mask; bytes, an array if by rank."""


class NoReplay(UsageError):
    """The schedule cannot be replayed exactly for all ranks at once; every rank must be run."""


class Collective(Protocol):
    """The interface of a persistent collective of `primitives`."""

    def steps(self) -> Iterator[Any]:
        """Yield each request that must be complete before the next step."""


Make = Callable[[Any], Collective]
"""Makes a rank's collective on a communicator, with phantoms or arrays of its own."""


class _Request:
    """A request of the recording communicator: it records its start and its wait."""

    def __init__(self, comm: _Recorder, kind: int, peer: int, size: int) -> None:
        self._comm, self._kind, self._peer, self._size = comm, kind, peer, size
        self._number = -1

    def Start(self) -> None:
        self._number = self._comm.note(self._kind, self._peer, self._size)

    def Wait(self) -> bool:
        self._comm.note(WAIT_SEND if self._kind == SEND else WAIT_RECEIVE, self._number, 0)
        return True

    def Free(self) -> None:
        """Do nothing."""


class _RecordingCarrier(Carrier):
    timed = True


class _Recorder:
    """A communicator that transports nothing and records what one rank does."""

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self.carrier: Carrier | None = _RecordingCarrier(self)  # type: ignore[arg-type]
        self.rows: list[tuple[int, int, int]] = []  # kind, peer or number of the awaited one, bytes
        self._started = [0, 0]

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return self._size

    def note(self, kind: int, peer: int, size: int) -> int:
        """Record a step; returns the index of a send among the sends, of a receive among the receives; -1 of a wait."""
        self.rows.append((kind, peer, size))
        if kind > RECEIVE:
            return -1
        self._started[kind] += 1
        return self._started[kind] - 1

    def Isend(self, buf: Any, dest: int, tag: int = 0) -> _Request:
        request = self.Send_init(buf, dest, tag)
        request.Start()
        return request

    def Irecv(self, buf: Any, source: int, tag: int = 0) -> _Request:
        request = self.Recv_init(buf, source, tag)
        request.Start()
        return request

    def Send(self, buf: Any, dest: int, tag: int = 0) -> None:
        self.Isend(buf, dest, tag).Wait()

    def __getattr__(self, name: str) -> Any:
        raise NoReplay(f"{name} is not recorded: run every rank")

    def Send_init(self, buf: Any, dest: int, tag: int = 0) -> _Request:
        return _Request(self, SEND, dest, len(outgoing(buf)))

    def Recv_init(self, buf: Any, source: int, tag: int = 0) -> _Request:
        return _Request(self, RECEIVE, source, len(outgoing(buf)))


def record(make: Make, rank: int, ranks: int) -> NDArray[np.int64]:
    """Record the steps of rank `rank` of `ranks`, shape (steps, 3)."""
    comm = _Recorder(rank, ranks)
    for request in make(comm).steps():
        request.Wait()
    comm.carrier = None  # the cycle of the two would live until the garbage collector comes, rarely in a simulation
    return np.array(comm.rows, dtype=np.int64).reshape(-1, 3)


def messages(make: Make, ranks: int) -> int:
    """Estimate the number of messages of all ranks from sampled ranks."""
    sends = [int((record(make, rank, ranks)[:, 0] == SEND).sum()) for rank in _samples(ranks)]
    return round(ranks * sum(sends) / len(sends))


def _samples(ranks: int) -> list[int]:
    return sorted({rank % ranks for rank in (0, 1, 2, ranks // 3, ranks // 2, ranks - 1)})


def folded(make: Make, ranks: int) -> list[Step]:
    """Record sampled ranks and give the one schedule: kind, shift or mask or number, whether it is a mask, bytes.

    The bytes of a step at which ranks send blocks of different sizes are an array by rank.
    """
    samples = _samples(ranks)
    found = _recorded(make, samples, ranks)
    unlike = any((one[:, 2] != found[0][:, 2]).any() for one in found)
    round_trip = _round_trip(found, samples, ranks) if unlike else None
    if unlike and round_trip is None:  # who sends how much is known of recorded ranks only
        if ranks * len(found[0]) > _MOST_ROWS:
            raise NoReplay("ranks send blocks of different sizes: run every rank")
        samples = list(range(ranks))
        found = _recorded(make, samples, ranks)
    sizes = np.array([one[:, 2] for one in found])
    steps = common([(rank, one[:, 0], one[:, 1]) for rank, one in zip(samples, found, strict=True)], ranks)
    if round_trip is None:
        return list(zip(*steps, by_rank(sizes), strict=True))
    return list(zip(*steps, _travelling(round_trip, found[0][:, 0] == SEND), strict=True))


def common(
    schedules: Iterable[tuple[int, NDArray[Any], NDArray[Any]]], ranks: int
) -> tuple[list[int], list[int], list[bool]]:
    """For each step of all schedules its kind, its shift, mask or number, and whether it is a mask.

    Parameters
    ----------
    schedules : a rank, the kinds of its steps, and the peer or the number of what is awaited of each

    Raises
    ------
    NoReplay
        The schedules differ in more than their ranks' peers.
    """
    first: Any = None
    for rank, kinds, peers in schedules:
        if first is None:
            first, waits, numbers = kinds, kinds > RECEIVE, peers
            shift, mask = (peers - rank) % ranks, peers ^ rank
            by_shift = np.ones(len(kinds), bool)
            by_mask = np.full(len(kinds), not ranks & (ranks - 1))  # otherwise a mask leads out of the ranks
        elif kinds.shape != first.shape or (kinds != first).any():
            raise NoReplay("ranks do different steps: run every rank")
        elif (peers[waits] != numbers[waits]).any():
            raise NoReplay("ranks wait in different orders: run every rank")
        else:
            by_shift &= (peers - rank) % ranks == shift
            by_mask &= (peers ^ rank) == mask
    if not (waits | by_shift | by_mask).all():
        raise NoReplay("peers are no shift or mask of the rank: run every rank")
    chosen = np.where(waits, numbers, np.where(by_shift, shift, mask))
    return first.tolist(), chosen.tolist(), (~(by_shift | waits)).tolist()


def by_rank(sizes: NDArray[np.int64]) -> list[Any]:
    """Bytes of each step, from a table by rank and step; one number if they are equal on all ranks."""
    alike = (sizes == sizes[0]).all(axis=0).tolist()
    return [int(sizes[0, i]) if same else sizes[:, i] for i, same in enumerate(alike)]


def _round_trip(found: list[NDArray[np.int64]], samples: list[int], ranks: int) -> NDArray[np.int64] | None:
    """Bytes of the blocks that travel round a ring: those of the k-th send of rank r have the index r - k.

    None where the samples contradict that, or leave a block unknown.
    """
    blocks = np.full(ranks, -1)
    for rank, rows in zip(samples, found, strict=True):
        sent = rows[rows[:, 0] == SEND, 2]
        index = (rank - np.arange(len(sent))) % ranks
        known = blocks[index]
        blocks[index] = sent
        if (blocks[index] != sent).any() or ((known >= 0) & (known != sent)).any():
            return None
    return None if (blocks < 0).any() else blocks


def _travelling(blocks: NDArray[np.int64], sends: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Bytes of each step by rank, as a view of the blocks that travel round a ring; empty for other steps."""
    twice, ranks = np.concatenate((blocks, blocks)), len(blocks)
    for k, send in zip((np.cumsum(sends) - 1) % ranks, sends, strict=True):
        yield twice[(-k) % ranks :][:ranks] if send else twice[:0]


def _recorded(make: Make, samples: list[int], ranks: int) -> list[NDArray[np.int64]]:
    """Record these ranks, which must all do the same kinds of steps."""
    found = [record(make, rank, ranks) for rank in samples]
    if any(one.shape != found[0].shape or (one[:, 0] != found[0][:, 0]).any() for one in found):
        raise NoReplay("ranks do different steps: run every rank")
    return found


def needed(steps: list[Step]) -> list[Step]:
    """Drop waits for sends that do not matter: of several in a row, the last send's is the latest."""
    kept: list[Step] = []
    done = -1
    for step in steps:
        if step[0] == WAIT_SEND:
            if step[1] <= done:
                continue
            done = step[1]
            if kept and kept[-1][0] == WAIT_SEND:
                kept.pop()
        kept.append(step)
    return kept
