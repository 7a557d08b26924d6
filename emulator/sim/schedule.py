"""A collective's schedule, recorded from its own `steps` and replayed in numpy for all ranks at once.

The schedule of a collective does not depend on data: which messages a rank sends, and what it waits for in between. It
is recorded on a communicator that carries nothing, for a few sampled ranks. If their schedules are the same but for the
peers, and each peer is ``(rank + shift) mod p`` or ``rank XOR mask`` with the same shift or mask on all of them, they
are taken to be the schedule of every rank, and one step of all ranks is one operation on arrays. That is evidence from
samples, not proof. The times are those of the emulated network to the bit, late ranks and unlike hosts included: a card
must serve its messages in the order in which the program sends them, which is checked for each message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.carrier import Carrier
from emulator.comm.buffers import outgoing
from emulator.errors import UsageError
from emulator.network import Network
from emulator.network.topology import Flat

_SEND, _RECEIVE, _WAIT_SEND, _WAIT_RECEIVE = range(4)
_MOST_ROWS = 2_000_000  # of all ranks' schedules: more would take longer to record than is worth it
_Floats = NDArray[np.float64]
_Step = tuple[int, int, bool, Any]


class NoReplay(UsageError):
    """The schedule cannot be replayed exactly for all ranks at once: run every rank."""


class Collective(Protocol):
    """What a persistent collective of `primitives` has."""

    def steps(self) -> Iterator[Any]:
        """Yield each request that must be complete before it goes on."""


Make = Callable[[Any], Collective]
"""Makes a rank's collective on a communicator, with phantoms or arrays of its own."""


class _Request:
    """A request of the recording communicator: it records that it was started, and that it is waited for."""

    def __init__(self, comm: _Recorder, kind: int, peer: int, size: int) -> None:
        self._comm, self._kind, self._peer, self._size = comm, kind, peer, size
        self._number = -1

    def Start(self) -> None:
        self._number = self._comm.note(self._kind, self._peer, self._size)

    def Wait(self) -> bool:
        self._comm.note(_WAIT_SEND if self._kind == _SEND else _WAIT_RECEIVE, self._number, 0)
        return True

    def Free(self) -> None:
        """Do nothing."""


class _RecordingCarrier(Carrier):
    timed = True


class _Recorder:
    """A communicator that carries nothing and notes what one rank does."""

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self.carrier = _RecordingCarrier(self)  # type: ignore[arg-type]
        self.rows: list[tuple[int, int, int]] = []  # kind, peer or number of the awaited one, bytes
        self._started = [0, 0]

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return self._size

    def note(self, kind: int, peer: int, size: int) -> int:
        """Note a step; gives the number of a send among the sends, of a receive among the receives."""
        self.rows.append((kind, peer, size))
        if kind > _RECEIVE:
            return -1
        self._started[kind] += 1
        return self._started[kind] - 1

    def Isend(self, buf: Any, dest: int, tag: int = 0) -> _Request:
        request = self.Send_init(buf, dest, tag)
        request.Start()
        return request

    def Send(self, buf: Any, dest: int, tag: int = 0) -> None:
        self.Isend(buf, dest, tag).Wait()

    def __getattr__(self, name: str) -> Any:
        raise NoReplay(f"{name} is not recorded: run every rank")

    def Send_init(self, buf: Any, dest: int, tag: int = 0) -> _Request:
        return _Request(self, _SEND, dest, len(outgoing(buf)))

    def Recv_init(self, buf: Any, source: int, tag: int = 0) -> _Request:
        return _Request(self, _RECEIVE, source, len(outgoing(buf)))


def record(make: Make, rank: int, ranks: int) -> NDArray[np.int64]:
    """Record what one rank of so many does, shape (steps, 3)."""
    comm = _Recorder(rank, ranks)
    for request in make(comm).steps():
        request.Wait()
    return np.array(comm.rows, dtype=np.int64).reshape(-1, 3)


@dataclass(frozen=True)
class Replayed:
    """Times of a replay: `clocks` at which each rank was done, in seconds, and the `messages` of all ranks."""

    clocks: _Floats
    messages: int

    @property
    def seconds(self) -> float:
        """When the last rank was done."""
        return float(self.clocks.max())


def replay(make: Make, ranks: int, network: Network, clocks: _Floats | None = None) -> Replayed:
    """Time a collective on all ranks of a network without running each.

    Parameters
    ----------
    make : makes the collective of the rank whose communicator it is given
    ranks : how many
    network : with a host of its own for each rank
    clocks : when each rank begins, in seconds; absent: all at 0

    Raises
    ------
    NoReplay
        The result could not be exact, and why.
    """
    network = network.sized(ranks)
    if ranks < 2:
        return Replayed(np.zeros(ranks) if clocks is None else clocks.copy(), 0)
    _check(network)
    steps = _needed(_folded(make, ranks))
    state = _State(network, clocks, {number for kind, number, *_ in steps if kind == _WAIT_SEND})
    for kind, number, xor, size in steps:
        if kind == _SEND:
            state.send(number, xor, size)
        elif kind == _RECEIVE:
            state.receive(number, xor)
        elif kind == _WAIT_SEND:
            np.maximum(state.t, state.ends.pop(number), out=state.t)
        else:
            state.wait(number)
    return Replayed(state.t, ranks * state.sent)


def _check(network: Network) -> None:
    """Refuse a network on which a message's time is more than that of its path and of two cards."""
    plan = network.plan
    if plan.jitter is not None or plan.loss is not None:
        raise NoReplay("jitter and loss differ from message to message: run every rank")
    if not plan.linear:
        raise NoReplay("a message's time is more than alpha + n beta there: run every rank")
    if plan.sharing != "message":
        raise NoReplay("messages share cards packet by packet: run every rank")
    if network.links:
        raise NoReplay(f"hosts of {network.name} share links: run every rank")
    if len(network.hosts) < network.ranks:
        raise NoReplay(f"ranks of {network.name} share hosts: run every rank")


def _folded(make: Make, ranks: int) -> list[_Step]:
    """Record sampled ranks and give the one schedule: kind, shift or mask or number, whether it is a mask, bytes.

    All ranks are recorded where they send blocks of different sizes; the bytes of such a step are an array by rank.
    """
    samples = sorted({rank % ranks for rank in (0, 1, 2, ranks // 3, ranks // 2, ranks - 1)})
    found = _recorded(make, samples, ranks)
    if any((one[:, 2] != found[0][:, 2]).any() for one in found):  # who sends how much is known of recorded ranks only
        if ranks * len(found[0]) > _MOST_ROWS:
            raise NoReplay("ranks send blocks of different sizes: run every rank")
        samples = list(range(ranks))
        found = _recorded(make, samples, ranks)
    first, sizes = found[0], np.array([one[:, 2] for one in found])
    alike = (sizes == sizes[0]).all(axis=0).tolist()
    peers = np.array([one[:, 1] for one in found])
    own = np.array(samples)[:, None]
    shifts, masks = (peers - own) % ranks, peers ^ own
    waits = first[:, 0] > _RECEIVE
    if (peers[:, waits] != peers[0, waits]).any():
        raise NoReplay("ranks wait in different orders: run every rank")
    by_shift, by_mask = (shifts == shifts[0]).all(axis=0), (masks == masks[0]).all(axis=0)
    if ranks & (ranks - 1):
        by_mask[:] = False  # a mask leads out of the ranks
    if not (waits | by_shift | by_mask).all():
        raise NoReplay("peers are no shift or mask of the rank: run every rank")
    numbers = np.where(waits, peers[0], np.where(by_shift, shifts[0], masks[0]))
    told: list[Any] = [int(sizes[0, i]) if same else sizes[:, i] for i, same in enumerate(alike)]
    return list(zip(first[:, 0].tolist(), numbers.tolist(), (~by_shift).tolist(), told, strict=True))


def _recorded(make: Make, samples: list[int], ranks: int) -> list[NDArray[np.int64]]:
    """Record these ranks, which must all do the same kinds of steps."""
    found = [record(make, rank, ranks) for rank in samples]
    if any(one.shape != found[0].shape or (one[:, 0] != found[0][:, 0]).any() for one in found):
        raise NoReplay("ranks do different steps: run every rank")
    return found


def _needed(steps: list[_Step]) -> list[_Step]:
    """Leave out waits for sends that say nothing: of several in a row the last send's is the latest."""
    kept: list[_Step] = []
    done = -1
    for step in steps:
        if step[0] == _WAIT_SEND:
            if step[1] <= done:
                continue
            done = step[1]
            if kept and kept[-1][0] == _WAIT_SEND:
                kept.pop()
        kept.append(step)
    return kept


class _State:
    """Clocks and cards of all ranks, as arrays.

    Attributes
    ----------
    t : clock of each rank
    sent : sends of each rank so far
    ends : when the last byte of a send has left, by the number of the send, of those that are waited for
    """

    def __init__(self, network: Network, clocks: _Floats | None, awaited: set[int]) -> None:
        self.network, p = network, network.ranks
        self.ranks = np.arange(p)
        self.t: _Floats = np.zeros(p) if clocks is None else np.array(clocks, dtype=float)
        self.egress, self.ingress, self.latest = np.zeros(p), np.zeros(p), np.full(p, -np.inf)
        self.source: Any = None  # of the message that each card served last, as a shift or a mask
        hosts = [network.hosts[network.host_of(rank)] for rank in range(p)]
        self.beta_out = np.array([host.nic.egress_beta for host in hosts])
        self.gap = np.array([host.nic.gap for host in hosts])
        self.alike = isinstance(network.plan.topology, Flat) and not network.plan.listed
        self.sent, self._waited_for = 0, awaited
        self.ends: dict[int, _Floats] = {}
        self._awaited: list[tuple[int, bool, int]] = []  # of each receive, which message of its source it is
        self._received: dict[tuple[int, bool], int] = {}
        self._due: dict[tuple[int, bool], dict[int, _Floats]] = {}
        self._arrived: dict[tuple[int, bool], int] = {}
        self._paths: dict[tuple[int, bool], tuple[Any, Any]] = {}

    def _targets(self, number: int, xor: bool) -> NDArray[np.int64]:
        return self.ranks ^ number if xor else (self.ranks + number) % len(self.ranks)

    def _path(self, number: int, xor: bool, targets: NDArray[np.int64]) -> tuple[Any, Any]:
        """Latency and seconds per byte of each rank's path to its target."""
        known = self._paths.get((number, xor))
        if known is None:
            between = self.network.between
            if self.alike:
                path = between(0, 1)
                known = path.alpha, path.beta
            else:
                paths = [between(rank, target) for rank, target in enumerate(targets.tolist())]
                known = np.array([path.alpha for path in paths]), np.array([path.beta for path in paths])
            self._paths[number, xor] = known
        return known

    def send(self, number: int, xor: bool, size: int | NDArray[np.int64]) -> None:
        """Every rank sends to the rank that is so far away; see `emulator.core.engine.Engine._depart`."""
        targets = self._targets(number, xor)
        alpha, beta = self._path(number, xor, targets)
        out = size * self.beta_out
        start = np.maximum(self.t, self.egress)
        self.egress = start + np.maximum(out, self.gap)
        if self.sent in self._waited_for:
            self.ends[self.sent] = start + out
        self.sent += 1
        first, service = np.empty_like(start), np.empty_like(start)
        first[targets], service[targets] = start + alpha, size * beta
        self._serve(first, service, (number, xor))

    def _serve(self, first: _Floats, service: _Floats, key: tuple[int, bool]) -> None:
        """Every card serves a message; see `emulator.core.cards.Port`."""
        early = first <= self.latest if self.source not in (None, key) else first < self.latest
        if (early & (service > 0)).any():
            raise NoReplay("messages reach a card in another order than they are sent: run every rank")
        self.latest, self.source = np.maximum(first, self.latest), key
        self.ingress = np.maximum(first, self.ingress) + service
        count = self._arrived[key] = self._arrived.get(key, -1) + 1
        self._due.setdefault(key, {})[count] = self.ingress

    def receive(self, number: int, xor: bool) -> None:
        """Every rank posts a receive from the rank that is so far away."""
        key = (number, xor) if xor else (-number % len(self.ranks), xor)  # as its sender counts
        count = self._received[key] = self._received.get(key, -1) + 1
        self._awaited.append((*key, count))

    def wait(self, number: int) -> None:
        """Every rank waits for its receive of that number."""
        shift, xor, count = self._awaited[number]
        due = self._due.get((shift, xor), {}).pop(count, None)
        if due is None:
            raise NoReplay("a rank waits for a message that is sent in a later step: run every rank")
        np.maximum(self.t, due, out=self.t)
