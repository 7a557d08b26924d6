"""Synchronous averaging with neighbours, by any mixing or schedule.

    x_i <- w_ii x_i + w_ij x_j + w_ik x_k       one round on a ring; W is doubly stochastic

Every algorithm in `mixing` and `schedules` is run by the one function `mix`: a constant matrix is classical
neighbour averaging, a random matching per round is pairwise gossip, and the one-peer exponential and base graphs
are exact after one pass over their schedule.

Messages per rank and round: the degree d, of n bytes. Time on an idle network, for a graph whose k-th sends are
permutations: alpha + d n beta (all d leave back to back, and arrive back to back). Rounds: `mixing.rounds_to`.

A dead neighbour's weight goes to the rank itself (x_i stands in for x_j), so the survivors still converge, to a value
between theirs. The values of dead ranks are lost: the mean moves by at most their share.

Source: Xiao and Boyd, "Fast linear iterations for distributed averaging" (2004).
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
    x : contiguous floating-point vector, the same length everywhere

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
    """Buffers for receives, kept per communicator, because touching new pages takes longer than the messages."""
    rows = peers.carrier.state.get(mix)
    if rows is None or rows.dtype != like.dtype or rows.shape[1] != like.size or len(rows) < count:
        rows = peers.carrier.state[mix] = np.empty((count, like.size), like.dtype)
    return list(rows[:count])


def _combine(x: Array, terms: Sequence[tuple[float, Array]]) -> None:
    """Compute x <- the weighted sum of vectors, x perhaps among them, in pieces that fit into a core's cache."""
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
    """Average by `count` rounds of a mixing, or of a schedule round robin; returns a new vector.

    Parameters
    ----------
    rounds : one `Mixing`, or a schedule such as `base_graph(p)`
    count : number of rounds; absent: one pass over the schedule
    """
    peers = Peers.of(comm)
    schedule = [rounds] if isinstance(rounds, Mixing) else rounds
    value = np.array(x, order="C")
    for k in range(len(schedule) if count is None else count):
        mix(peers, value, schedule[k % len(schedule)])
    return value


def _check(peers: Peers, x: Array, graph: Graph) -> None:
    graph.check_size(peers.size)
    if not (np.issubdtype(x.dtype, np.floating) and x.flags.c_contiguous):
        raise UsageError(f"gossip averages contiguous floating-point arrays, got {x.dtype}: use np.array(x, float)")
