"""Rounds and messages of gossip per second among four ranks on a ring, beside MPI_Neighbor_allgather."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from bench._common import Row, figures, in_turns, medians, row, write
from primitives.gossip import PushSum, graphs, mix, mixing
from primitives.gossip.mixing import Mixing

SMALL, LARGE = 512, 2**20
_RANKS, _DEGREE = 4, 2
_ENOUGH_S = 8.0


def rows(budget: float) -> list[Row]:
    """Medians over turns in which all contestants alternate."""
    share = min(budget, _ENOUGH_S)
    rates = medians(figures(_RANKS, "bench.gossip", share, limit_s=40 + 3 * share))
    messages = _RANKS * _DEGREE
    native = "other: MPI_Neighbor_allgather"
    return [
        row(f"rounds/s on a ring, 512 B ({native})", rates["small"], "1/s", rates["small native"]),
        row(f"messages/s on a ring, 512 B ({native})", messages * rates["small"], "1/s",
            messages * rates["small native"]),
        row(f"rounds/s on a ring, 1 MiB ({native})", rates["large"], "1/s", rates["large native"]),
        row("rounds/s of push-sum, complete graph, 512 B", rates["push-sum"], "1/s"),
    ]  # fmt: skip


def ours(comm: MPI.Intracomm, w: Mixing, size: int, rounds: int) -> float:
    """Rounds per second of neighbour averaging."""
    x = np.full(size // 8, float(comm.Get_rank()))
    return _rate(comm, rounds, lambda: mix(comm, x, w), lambda: x)


def neighbourhood(comm: MPI.Intracomm, w: Mixing, size: int, rounds: int) -> float:
    """The same by ``MPI_Neighbor_allgather`` on the graph."""
    me = comm.Get_rank()
    others = [j for j in w.weights[me] if j != me]
    graph = comm.Create_dist_graph_adjacent(others, others)
    x, around = np.full(size // 8, float(me)), np.empty((len(others), size // 8))

    def once() -> None:
        graph.Neighbor_allgather(x, around)
        x[:] = w.weights[me].get(me, 0.0) * x
        for j, received in zip(others, around, strict=True):
            x[:] += w.weights[me][j] * received

    rate = _rate(comm, rounds, once, lambda: x)
    graph.Free()
    return rate


def push_sum(comm: MPI.Intracomm, rounds: int) -> float:
    """Rounds per second of push-sum on the complete graph."""
    state = PushSum(comm, np.full(SMALL // 8, float(comm.Get_rank())), graphs.complete(comm.Get_size()))
    return _rate(comm, rounds, state.step, lambda: state.estimate)


def _rate(comm: MPI.Intracomm, rounds: int, once: Callable[[], None], value: Callable[[], np.ndarray]) -> float:
    comm.Barrier()
    start = time.perf_counter()
    for _ in range(rounds):
        once()
    comm.Barrier()
    seconds = time.perf_counter() - start
    if np.abs(value() - (comm.Get_size() - 1) / 2).max() > 1e-6:
        raise AssertionError("the ranks do not agree on the mean")
    return rounds / seconds


def main(budget: str) -> dict[str, list[float]]:
    """The rates of all contestants, which alternate."""
    comm = MPI.COMM_WORLD
    w = mixing.of_graph(graphs.ring(comm.Get_size()))
    contestants: dict[str, Callable[[], float]] = {
        "small": lambda: ours(comm, w, SMALL, 2000),
        "small native": lambda: neighbourhood(comm, w, SMALL, 2000),
        "large": lambda: ours(comm, w, LARGE, 100),
        "large native": lambda: neighbourhood(comm, w, LARGE, 100),
        "push-sum": lambda: push_sum(comm, 500),
    }
    return in_turns(comm, contestants, float(budget))


if __name__ == "__main__":
    write(main)
