"""A collective's recorded schedule, replayed in numpy for all ranks at once.

One step of all ranks is one operation on arrays (see `emulator.sim.recording`). The times are those of the emulated
network to the bit, late ranks and unlike hosts included: a card must serve its messages in the order in which the
program sends them, which is checked for each message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.network import Network
from emulator.network.topology import Flat
from emulator.sim.recording import RECEIVE, SEND, WAIT_SEND, Make, NoReplay, folded, needed

_Floats = NDArray[np.float64]


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
    steps = needed(folded(make, ranks))
    same = clocks is None and all(isinstance(size, int) for *_, size in steps)
    state = _State(network, clocks, {number for kind, number, *_ in steps if kind == WAIT_SEND}, same)
    for kind, number, xor, size in steps:
        if kind == SEND:
            state.send(number, xor, size)
        elif kind == RECEIVE:
            state.receive(number, xor)
        elif kind == WAIT_SEND:
            np.maximum(state.t, state.ends.pop(number), out=state.t)
        else:
            state.wait(number)
    return Replayed(np.broadcast_to(state.t, ranks), ranks * state.sent)


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


class _State:
    """Clocks and cards of all ranks, as arrays: of one element where all ranks do the `same` at the same times.

    Attributes
    ----------
    t : clock of each rank
    sent : sends of each rank so far
    ends : when the last byte of a send has left, by the number of the send, of those that are waited for
    """

    def __init__(self, network: Network, clocks: _Floats | None, awaited: set[int], same: bool) -> None:
        self.network, self.size = network, network.ranks
        p = self.size
        hosts = [network.hosts[network.host_of(rank)] for rank in range(p)]
        self.alike = isinstance(network.plan.topology, Flat) and not network.plan.listed
        if same and self.alike and len({(host.nic.egress_beta, host.nic.gap) for host in hosts}) == 1:
            p, hosts = 1, hosts[:1]
        self.ranks = np.arange(p)
        self.t: _Floats = np.zeros(p) if clocks is None else np.array(clocks, dtype=float)
        self.egress, self.ingress, self.latest = np.zeros(p), np.zeros(p), np.full(p, -np.inf)
        self.source: Any = None  # of the message that each card served last, as a shift or a mask
        self.beta_out = np.array([host.nic.egress_beta for host in hosts])
        self.gap = np.array([host.nic.gap for host in hosts])
        self.sent, self._waited_for = 0, awaited
        self.ends: dict[int, _Floats] = {}
        self._awaited: list[tuple[int, bool, int]] = []  # of each receive, which message of its source it is
        self._received: dict[tuple[int, bool], int] = {}
        self._due: dict[tuple[int, bool], dict[int, _Floats]] = {}
        self._arrived: dict[tuple[int, bool], int] = {}
        self._paths: dict[tuple[int, bool], tuple[Any, Any]] = {}

    def _targets(self, number: int, xor: bool) -> NDArray[np.int64]:
        if len(self.ranks) < self.size:
            return self.ranks
        return self.ranks ^ number if xor else (self.ranks + number) % self.size

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
        key = (number, xor) if xor else (-number % self.size, xor)  # as its sender counts
        count = self._received[key] = self._received.get(key, -1) + 1
        self._awaited.append((*key, count))

    def wait(self, number: int) -> None:
        """Every rank waits for its receive of that number."""
        shift, xor, count = self._awaited[number]
        due = self._due.get((shift, xor), {}).pop(count, None)
        if due is None:
            raise NoReplay("a rank waits for a message that is sent in a later step: run every rank")
        np.maximum(self.t, due, out=self.t)
