"""Synchronous averaging: weighted neighbour averaging by any mixing or schedule, and push-sum.

    neighbour averaging, one round on a ring          push-sum, one round on a one-way graph
        x_i <- w_ii x_i + w_ij x_j + w_ik x_k             (s, w) -> equal shares to itself and its targets
    needs a doubly stochastic W                       estimate s / w; needs only a strongly connected graph

Every algorithm in `mixing` and `schedules` is run by the one function `mix`: a constant matrix is classical
neighbour averaging, a random matching per round is pairwise gossip, and the one-peer exponential and base graphs
are exact after one pass over their schedule.

Messages per rank and round: the degree d, of n bytes. Time on an idle network, for a graph whose k-th sends are
permutations: alpha + d n beta (all d leave back to back, and arrive back to back). Rounds: `mixing.rounds_to`.

A dead neighbour's weight goes to the rank itself (x_i stands in for x_j), so the survivors still converge, to a value
between theirs. The values of dead ranks are lost: the mean moves by at most their share. Push-sum loses sum and
weight together, so estimates stay weighted means of the initial values.

Sources: Xiao and Boyd (2004); Kempe, Dobra and Gehrke, "Gossip-based computation of aggregate information" (FOCS
2003) for push-sum; Benezit et al. (ISIT 2010) for its weighted, one-way form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.gossip.graphs import Graph
from primitives.gossip.mixing import Mixing
from primitives.peers import Peers

Array = NDArray[np.floating]
_PIECE = 8192


def mix(comm: MPI.Intracomm | Peers, x: Array, mixing: Mixing) -> None:
    """Do one round x_i <- sum_j w_ij x_j, in place. All members call it with the same `mixing`.

    Parameters
    ----------
    x
        Contiguous floating-point vector, the same length everywhere.

    Raises
    ------
    UsageError
        The mixing is for another number of ranks, or `x` is not a contiguous floating-point array.
    """
    peers = Peers.of(comm)
    _check(peers, x, mixing.graph)
    peers.carrier.phase("mix")
    weights = mixing.weights[peers.rank]
    sources = list(mixing.graph.sources(peers.rank))
    received = dict(zip(sources, _buffers(peers, len(sources), x), strict=True))
    sends = [(j, x) for j in mixing.graph.neighbours[peers.rank]]
    arrived = peers.exchange(sends, list(received.items()))
    # In a fixed order, the own value among the others: two partners with equal weights end with equal bits.
    _combine(x.reshape(-1), [(weights[j], received[j] if j in arrived else x.reshape(-1)) for j in sorted(weights)])


def _buffers(peers: Peers, count: int, like: Array) -> list[Array]:
    """Arrays to receive into, kept per communicator: to touch the pages of new ones takes longer than the messages."""
    rows = peers.carrier.state.get(mix)
    if rows is None or rows.dtype != like.dtype or rows.shape[1] != like.size or len(rows) < count:
        rows = peers.carrier.state[mix] = np.empty((count, like.size), like.dtype)
    return list(rows[:count])


def _combine(x: Array, terms: Sequence[tuple[float, Array]]) -> None:
    """x <- the weighted sum of vectors, x perhaps among them, in pieces that stay in a core's cache."""
    (first, start), *others = terms
    for at in range(0, len(x), _PIECE):
        piece = slice(at, at + _PIECE)
        total = first * start[piece]
        for weight, vector in others:
            total += weight * vector[piece]
        x[piece] = total


def average(
    comm: MPI.Intracomm | Peers, x: Array, rounds: Mixing | Sequence[Mixing], count: int | None = None
) -> Array:
    """Average by `count` rounds of a mixing, or of a schedule taken round robin; returns a new vector.

    Parameters
    ----------
    rounds
        One `Mixing`, or a schedule such as `base_graph(p)`.
    count
        Number of rounds; absent: one pass over the schedule.
    """
    peers = Peers.of(comm)
    schedule = [rounds] if isinstance(rounds, Mixing) else rounds
    value = np.array(x, order="C")
    for k in range(len(schedule) if count is None else count):
        mix(peers, value, schedule[k % len(schedule)])
    return value


class PushSum:
    """Average on one-way graphs: mass is moved and never copied, so its sums are conserved at every instant.

    Each rank holds (s, w), at first (x, 1). Per round it cuts both into equal shares for itself and its targets,
    and adds up what arrives. Over all ranks sum s and sum w never change, and every s / w tends to their quotient.

    Parameters
    ----------
    comm
        Communicator or table of peers.
    x
        Floating-point vector.
    graph
        Strongly connected; edges may go one way.
    seed
        None: shares go to all targets, every round. A number: half goes to *one* target, drawn from (seed,
        round) by a generator that all ranks share, so that every receive can name its source. (On a complete
        graph the expected error then shrinks by sqrt(1/2 - 1/(2p)) per round: Kempe et al., lemma 2.3.)

    Attributes
    ----------
    mass
        The array (s, w), length n + 1.
    round
        Rounds done.
    """

    def __init__(self, comm: MPI.Intracomm | Peers, x: Array, graph: Graph, seed: int | None = None) -> None:
        self.peers = Peers.of(comm)
        _check(self.peers, x, graph)
        self.graph = graph.check_connected()
        self.seed = seed
        self.mass = np.append(x.ravel(), x.dtype.type(1))
        self.shape = x.shape
        self.round = 0

    @property
    def estimate(self) -> Array:
        """This rank's estimate of the mean, shaped like x."""
        return (self.mass[:-1] / self.mass[-1]).reshape(self.shape)

    @property
    def weight(self) -> float:
        """This rank's weight; the weights of all ranks sum to p."""
        return float(self.mass[-1])

    def routes(self) -> tuple[tuple[int, ...], ...]:
        """Targets of every position in this round."""
        if self.seed is None:
            return self.graph.neighbours
        return tuple((target,) for target in self.graph.contacts(self.seed, self.round))

    def step(self) -> None:
        """Do one round; all members call it."""
        self.peers.carrier.phase("push_sum", round=self.round)
        me, routes = self.peers.rank, self.routes()
        targets = [j for j in routes[me] if self.peers.alive(j)]
        share = self.mass / (len(targets) + 1)
        sources = self.graph.sources(me) if self.seed is None else [i for i, to in enumerate(routes) if me in to]
        received = {i: np.empty_like(self.mass) for i in sources}
        arrived = self.peers.exchange([(j, share) for j in targets], list(received.items()))
        kept = 1 + sum(not self.peers.alive(j) for j in targets)  # shares that could not be delivered stay here
        self.mass = kept * share
        for i in sorted(arrived):
            self.mass += received[i]
        self.round += 1

    def run(self, rounds: int) -> Array:
        """Do `rounds` rounds; returns the estimate."""
        for _ in range(rounds):
            self.step()
        return self.estimate


def _check(peers: Peers, x: Array, graph: Graph) -> None:
    graph.check_size(peers.size)
    if not (np.issubdtype(x.dtype, np.floating) and x.flags.c_contiguous):
        raise UsageError(f"gossip averages contiguous floating-point arrays, got {x.dtype}: use np.array(x, float)")
