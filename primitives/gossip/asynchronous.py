"""Asynchronous gossip: averaging without rounds, in which no rank waits for a slow one.

    push-sum: a rank halves its (s, w), sends one       pairwise: a rank asks a random neighbour; unless that one
    half to a random target, adds what has arrived      waits for an answer itself, both take the mean
    one-way, no rank waits, estimate s / w              two-way, atomic per pair, estimate is the value itself

Both conserve their sums whatever the timing: push-sum because mass moves and is never copied, pairwise because a
rank that waits for an answer refuses ("busy") to be changed meanwhile. Both end by a last message to every neighbour;
MPI keeps the order of each pair's messages, so once all of these are in no data are in flight.

Cost: one message per push; two per meeting (question and answer). The order of events depends on timing, and with it
the last digits of the result; on an emulated network without pacing messages count when they are delivered.

The mass of a neighbour that dies is lost; the others' estimates remain weighted means of the initial values.

Sources: Kempe, Dobra and Gehrke (FOCS 2003); Assran et al., "Asynchronous gradient push" (2020); Boyd et al.,
"Randomized gossip algorithms" (2006); Lian et al., "Asynchronous decentralized parallel SGD" (ICML 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.gossip.graphs import Graph
from primitives.mailbox import Mailbox
from primitives.peers import Peers

_PUSH, _ASK, _ANSWER, _BUSY, _LAST = range(5)
# A rank whose weight is below the least waits a moment for mass to arrive, and pushes nothing if none does: otherwise
# a fast rank would halve its weight to almost 0 before the slow ones have begun.
_LEAST_WEIGHT, _PATIENCE_S = 1 / 16, 1e-3


@dataclass
class Outcome:
    """One rank's result.

    Attributes
    ----------
    value
        Estimate of the mean.
    mass
        (s, w): sums over all ranks equal those at the start, (sum x, p). Pairwise: (x, 1).
    sent, received
        Messages with data.
    refused
        Meetings that found the neighbour busy.
    """

    value: NDArray[np.float64]
    mass: NDArray[np.float64]
    sent: int
    received: int
    refused: int = 0


def _check(peers: Peers, graph: Graph, count: int) -> None:
    graph.check_connected().check_size(peers.size)
    if count < 0:
        raise UsageError(f"the number of exchanges is at least 0, got {count}")


def push_sum(comm: MPI.Intracomm | Peers, x: NDArray[np.float64], graph: Graph, pushes: int, seed: int = 0) -> Outcome:
    """Push `pushes` times to random targets; a strongly connected graph, whose edges may go one way.

    Parameters
    ----------
    x
        float64 vector, the same length everywhere.

    Raises
    ------
    UsageError
        The graph is not strongly connected or of another size, or `pushes` is negative.
    """
    peers = Peers.of(comm)
    _check(peers, graph, pushes)
    me = peers.rank
    targets, sources = graph.neighbours[me], graph.sources(me)
    box = Mailbox(peers, sources)
    rng = np.random.default_rng((seed, me))
    mass = np.append(np.asarray(x, np.float64), 1.0)
    outcome = Outcome(mass[:-1], mass, 0, 0)

    def absorb(mail: list[tuple[int, NDArray]]) -> None:
        for position, message in mail:
            if message[0] == _LAST:
                box.stop(position)
            else:
                mass[:] += message[1:]
                outcome.received += 1

    for k in range(pushes):
        peers.carrier.phase("push", push=k)
        absorb(box.poll())
        if mass[-1] < _LEAST_WEIGHT:
            absorb(box.wait(patience_s=_PATIENCE_S))
        living = [j for j in targets if peers.alive(j)]
        if mass[-1] >= _LEAST_WEIGHT and living:
            mass *= 0.5
            if box.send(living[int(rng.integers(len(living)))], np.concatenate([[_PUSH], mass])):
                outcome.sent += 1
            else:
                mass *= 2.0
    for j in targets:
        box.send(j, np.concatenate([[_LAST], np.zeros_like(mass)]))
    while box.sources:
        absorb(box.wait())
    box.flush()
    outcome.value = mass[:-1] / mass[-1]
    return outcome


class _Meetings:
    """One rank of pairwise gossip: its value, and whether it waits for an answer."""

    def __init__(self, box: Mailbox, x: NDArray[np.float64]) -> None:
        self.box, self.x = box, np.array(x, np.float64)
        self.waiting: int | None = None
        self.ended: set[int] = set()  # neighbours that ask no more; they still answer
        self.sent = self.received = self.refused = 0

    def say(self, position: int, kind: int) -> bool:
        self.sent += kind in (_ASK, _ANSWER)
        return self.box.send(position, np.concatenate([[kind], self.x]))

    def hear(self, position: int, kind: int, theirs: NDArray[np.float64]) -> None:
        if kind == _ASK and self.waiting is not None:
            self.say(position, _BUSY)
        elif kind == _ASK:
            if self.say(position, _ANSWER):
                self._meet(theirs)
        elif kind == _LAST:
            self.ended.add(position)
        else:
            self.waiting = None
            if kind == _ANSWER:
                self._meet(theirs)
            else:
                self.refused += 1

    def _meet(self, theirs: NDArray[np.float64]) -> None:
        self.received += 1
        self.x = (self.x + theirs) / 2  # commutative: both partners end with the same bits

    def listen(self, wait: bool) -> None:
        for position, message in self.box.wait() if wait else self.box.poll():
            self.hear(position, int(message[0]), message[1:])
        if self.waiting is not None and not self.box.peers.alive(self.waiting):
            self.waiting = None  # no answer will come; neither value has changed


def pairwise(
    comm: MPI.Intracomm | Peers, x: NDArray[np.float64], graph: Graph, meetings: int, seed: int = 0
) -> Outcome:
    """Ask a random neighbour for a meeting, `meetings` times; a connected graph with two-way edges.

    Parameters
    ----------
    x
        float64 vector, the same length everywhere.

    Raises
    ------
    UsageError
        The graph has one-way edges, is not connected or of another size, or `meetings` is negative.
    """
    peers = Peers.of(comm)
    _check(peers, graph, meetings)
    if not graph.symmetric:
        raise UsageError(f"pairwise gossip needs edges that go both ways, '{graph.name}' has one-way edges")
    neighbours = graph.neighbours[peers.rank]
    box = Mailbox(peers, neighbours)
    rng = np.random.default_rng((seed, peers.rank))
    state = _Meetings(box, x)
    for k in range(meetings):
        peers.carrier.phase("meet", meeting=k)
        state.listen(wait=False)
        living = [j for j in neighbours if peers.alive(j)]
        if living:
            partner = living[int(rng.integers(len(living)))]
            # Set before asking: a question that comes in now must be refused, or the value would change under way.
            state.waiting = partner
            if not state.say(partner, _ASK):
                state.waiting = None
        while state.waiting is not None:
            state.listen(wait=peers.alive(state.waiting))
    for j in neighbours:
        state.say(j, _LAST)
    while box.sources - state.ended:
        state.listen(wait=True)
    box.flush()
    return Outcome(state.x, np.append(state.x, 1.0), state.sent, state.received, state.refused)
