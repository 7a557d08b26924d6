"""Pushes and pulls per second through one server with three workers, beside the plainest pickled server."""

from __future__ import annotations

from bench._common import Row, figures, medians, row

_RANKS = 4
_ENOUGH_S = 12.0


def rows(budget: float) -> list[Row]:
    """Steps (a push and a pull) and messages per second; medians of five turns."""
    rates = medians(figures(_RANKS, "bench._push_pull", min(budget, _ENOUGH_S), limit_s=60 + 3 * budget))
    step_gb = 2 * 2**20 / 1e9
    return [
        row("messages/s, push + pull of 512 B (other: pickled)", 2 * rates["small"], "1/s", 2 * rates["pickled"]),
        row("GB/s through the server, push + pull of 1 MiB (other: pickled)",
            step_gb * rates["large"], "GB/s", step_gb * rates["large pickled"]),
        row("messages/s, push + pull of 256 of 65536 rows", 2 * rates["sparse"], "1/s"),
        row("pushes/s of 512 B, flushed every 50", rates["push"], "1/s"),
    ]  # fmt: skip
