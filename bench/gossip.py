"""Rounds and messages of gossip per second among four ranks on a ring, beside MPI_Neighbor_allgather."""

from __future__ import annotations

from bench._common import Row, figures, medians, row

_RANKS, _DEGREE = 4, 2
_ENOUGH_S = 8.0


def rows(budget: float) -> list[Row]:
    """Medians over turns in which all contestants alternate."""
    share = min(budget, _ENOUGH_S)
    rates = medians(figures(_RANKS, "bench._gossip", share, limit_s=40 + 3 * share))
    messages = _RANKS * _DEGREE
    native = "other: MPI_Neighbor_allgather"
    return [
        row(f"rounds/s on a ring, 512 B ({native})", rates["small"], "1/s", rates["small native"]),
        row(f"messages/s on a ring, 512 B ({native})", messages * rates["small"], "1/s",
            messages * rates["small native"]),
        row(f"rounds/s on a ring, 1 MiB ({native})", rates["large"], "1/s", rates["large native"]),
        row("rounds/s of push-sum, complete graph, 512 B", rates["push-sum"], "1/s"),
    ]  # fmt: skip
