"""A collective's recorded schedule, replayed in numpy for all ranks at once.

One step of all ranks is one operation on arrays (see `emulator.sim.collectives.recording`). The times are those of the
emulated network to the bit, late ranks and unlike hosts included: a card must serve its messages in the order in which
the program sends them, which is checked for each message, and a link that hosts share, or the card of a host with
several ranks, must belong to one pair of ranks. So it does in a ring that follows the hosts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.network import Network
from emulator.network.topology import Flat
from emulator.sim.collectives.recording import RECEIVE, SEND, WAIT_SEND, Make, NoReplay, Step, folded, needed

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Replayed:
    """The result of a replay: `clocks` (s) at which each rank ended, and the number of `messages` of all ranks."""

    clocks: _Floats
    messages: int

    @property
    def seconds(self) -> float:
        """Seconds until the last rank has ended."""
        return float(self.clocks.max())


def replay(make: Make, ranks: int, network: Network, clocks: _Floats | None = None) -> Replayed:
    """Time a collective on all ranks of a network without running each rank.

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
    check(network)
    state = play(needed(folded(make, ranks)), ranks, network, clocks)
    return Replayed(np.broadcast_to(state.t, ranks), ranks * state.sent)


def play(
    steps: list[Step], ranks: int, network: Network, clocks: _Floats | None = None, cards: _Floats | None = None
) -> State:
    """Move all ranks through the steps of a schedule, each on a host of its own.

    Parameters
    ----------
    clocks : as for `replay`
    cards : by rank, when its card is free to send, free to receive, and when the first byte of the message came that it
        received last, shape (3, ranks); absent: cards have not been used

    Raises
    ------
    NoReplay
        See `replay`.
    """
    same = all(isinstance(size, int) for *_, size in steps)
    if clocks is not None:
        same = same and all((one == one[0]).all() for one in (clocks, *(() if cards is None else cards)))
    state = State(network, ranks, clocks, cards, {number for kind, number, *_ in steps if kind == WAIT_SEND}, same)
    for kind, number, xor, size in steps:
        if kind == SEND:
            state.send(number, xor, size)
        elif kind == RECEIVE:
            state.receive(number, xor)
        elif kind == WAIT_SEND:
            np.maximum(state.t, state.ends.pop(number), out=state.t)
        else:
            state.wait(number)
    return state


def check(network: Network) -> None:
    """Refuse a network on which the time of a message depends on more than its path and two cards."""
    spec = network.spec
    if spec.jitter is not None or spec.loss is not None:
        raise NoReplay("jitter and loss differ from message to message: run every rank")
    if not spec.linear:
        raise NoReplay("a message's time is more than alpha + n beta there: run every rank")
    if spec.sharing != "message":
        raise NoReplay("messages share cards packet by packet: run every rank")


@dataclass(frozen=True)
class _Ways:
    """The paths from all ranks to their targets by one shift or mask: numbers, or arrays by rank.

    Attributes
    ----------
    alpha, beta : latency and seconds per byte
    beta_out, gap : seconds per byte of the sender's card, and its least time between two messages
    links : of each link on the ways, the ranks whose messages pass it, where it is, and its seconds per byte: arrays
    """

    alpha: Any
    beta: Any
    beta_out: Any
    gap: Any
    links: list[tuple[NDArray[np.int64], NDArray[np.int64], _Floats]]


class Roads:
    """The paths of every shift and mask, each computed at first use; refuses cards and links that two pairs share."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.alike = isinstance(network.spec.topology, Flat) and not network.spec.listed
        self.alike = self.alike and len(network.hosts) == network.ranks
        self._pairs: dict[tuple[str, int], tuple[int, int]] = {}
        self._local: list[bool] = []  # whether each rank's target is on its own host
        self._known: dict[tuple[int, bool], _Ways] = {}

    def ways(self, key: tuple[int, bool], targets: NDArray[np.int64]) -> _Ways:
        """The paths from all ranks to these targets, of that shift or mask."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._lay_one() if self.alike else self._lay(targets.tolist())
        return known

    def _lay_one(self) -> _Ways:
        path, nic = self.network.between(0, 1), self.network.hosts[0].nic
        return _Ways(path.alpha, path.beta, nic.egress_beta, nic.gap, [])

    def _lay(self, targets: list[int]) -> _Ways:
        network, pairs = self.network, list(enumerate(targets))
        hosts = [(network.host_of(rank), network.host_of(target)) for rank, target in pairs]
        paths, local = [network.path(*two) for two in hosts], [one == other for one, other in hosts]
        if self._local and local != self._local:
            raise NoReplay(f"ranks of {network.name} share hosts: run every rank")
        self._local = local
        for pair, (here, there), path, near in zip(pairs, hosts, paths, local, strict=True):
            if not near and len(network.hosts) < network.ranks:
                self._claim(pair, ("out of", here), ("into", there))
            self._claim(pair, *(("link", link) for link in path.links))
        nics = [network.hosts[here].nic for here, _ in hosts]
        columns = [
            (path.alpha, path.beta, path.beta, 0.0) if near else (path.alpha, path.beta, nic.egress_beta, nic.gap)
            for path, near, nic in zip(paths, local, nics, strict=True)
        ]
        alpha, beta, beta_out, gap = np.array(columns).T
        return _Ways(alpha, beta, beta_out, gap, [*self._stages([path.links for path in paths])])

    def _claim(self, pair: tuple[int, int], *resources: tuple[str, int]) -> None:
        """Note that a pair of ranks uses these cards and links, which no other pair may use."""
        for one in resources:
            if self._pairs.setdefault(one, pair) != pair:
                what = "links" if one[0] == "link" else "hosts"
                whose = "hosts" if one[0] == "link" else "ranks"
                raise NoReplay(f"{whose} of {self.network.name} share {what}: run every rank")

    def _stages(self, links: list[Any]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], _Floats]]:
        """Yield the first link of every path that has one, then the second, and so on."""
        for at in range(max(len(one) for one in links)):
            users = [rank for rank, one in enumerate(links) if len(one) > at]
            found = [links[rank][at] for rank in users]
            yield np.array(users), np.array(found), np.array([self.network.links[link].beta for link in found])


class State:
    """Clocks and cards of all ranks as arrays; of one element if all ranks do the `same` at the same times.

    Attributes
    ----------
    t : clock of each rank
    egress, ingress : when each rank's card is free to send, and to receive
    latest : when the first byte of the message came that each card received last
    sent : sends of each rank so far
    ends : when the last byte of a send has left, by the number of the send, of those that are waited for
    """

    def __init__(
        self, network: Network, ranks: int, clocks: _Floats | None, cards: _Floats | None, awaited: set[int],
        same: bool,
    ) -> None:  # fmt: skip
        self.size, self._roads = ranks, Roads(network)
        p = 1 if same and self._roads.alike else ranks
        self.ranks = np.arange(p)
        self.t: _Floats = np.zeros(p) if clocks is None else np.array(clocks[:p], dtype=float)
        unused = np.array([[0.0], [0.0], [-np.inf]]).repeat(p, axis=1)
        self.egress, self.ingress, self.latest = unused if cards is None else cards[:, :p]
        self.links = np.zeros(len(network.links))  # when each is free
        self.source: Any = None  # of the message that each card served last, as a shift or a mask
        self.sent, self._waited_for = 0, awaited
        self.ends: dict[int, _Floats] = {}
        self._awaited: list[tuple[int, bool, int]] = []  # of each receive, which message of its source it is
        self._received: dict[tuple[int, bool], int] = {}
        self._due: dict[tuple[int, bool], dict[int, _Floats]] = {}
        self._arrived: dict[tuple[int, bool], int] = {}

    def _targets(self, number: int, xor: bool) -> NDArray[np.int64]:
        if len(self.ranks) < self.size:
            return self.ranks
        return self.ranks ^ number if xor else (self.ranks + number) % self.size

    def send(self, number: int, xor: bool, size: int | NDArray[np.int64]) -> None:
        """Make every rank send to the rank of this shift or mask; see `emulator.core.engine.Engine.leave`."""
        targets = self._targets(number, xor)
        ways = self._roads.ways((number, xor), targets)
        out = size * ways.beta_out
        start = np.maximum(self.t, self.egress)
        self.egress = start + np.maximum(out, ways.gap)
        if self.sent in self._waited_for:
            self.ends[self.sent] = start + out
        self.sent += 1
        first, service = np.empty_like(start), np.empty_like(start)
        first[targets], service[targets] = self._pass(start, size, ways) + ways.alpha, size * ways.beta
        self._serve(first, service, (number, xor))

    def _pass(self, start: _Floats, size: int | NDArray[np.int64], ways: _Ways) -> _Floats:
        """Pass the links on the paths; returns the times at which the first bytes have passed the last link."""
        if ways.links:
            start = start.copy()
        for users, links, beta in ways.links:
            start[users] = np.maximum(start[users], self.links[links])
            self.links[links] = start[users] + (size if isinstance(size, int) else size[users]) * beta
        return start

    def _serve(self, first: _Floats, service: _Floats, key: tuple[int, bool]) -> None:
        """Make every card serve a message; see `emulator.core.cards.Port`."""
        early = first <= self.latest if self.source not in (None, key) else first < self.latest
        if (early & (service > 0)).any():
            raise NoReplay("messages reach a card in another order than they are sent: run every rank")
        self.latest, self.source = np.maximum(first, self.latest), key
        self.ingress = np.maximum(first, self.ingress) + service
        count = self._arrived[key] = self._arrived.get(key, -1) + 1
        self._due.setdefault(key, {})[count] = self.ingress

    def receive(self, number: int, xor: bool) -> None:
        """Make every rank post a receive from the rank of this shift or mask."""
        key = (number, xor) if xor else (-number % self.size, xor)  # as its sender counts
        count = self._received[key] = self._received.get(key, -1) + 1
        self._awaited.append((*key, count))

    def wait(self, number: int) -> None:
        """Make every rank wait for its receive of that number."""
        shift, xor, count = self._awaited[number]
        due = self._due.get((shift, xor), {}).pop(count, None)
        if due is None:
            raise NoReplay("a rank waits for a message that is sent in a later step: run every rank")
        np.maximum(self.t, due, out=self.t)
