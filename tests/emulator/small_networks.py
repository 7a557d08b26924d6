"""Networks for tests, made without a file."""

from __future__ import annotations

from typing import Any

from emulator.network import Host, Network, NetworkSpec, Nic, Path

ALPHA, BETA = 50e-6, 0.8e-9


def plain(
    ranks: int = 2, *, alpha: float = ALPHA, beta: float = BETA, gap: float = 0.0, per_host: int = 1, **plan: Any
) -> Network:
    """Like hosts, `per_host` ranks on each, with `alpha` seconds and `beta` seconds per byte between them."""
    host = Host("h", Nic(beta, beta, gap), 1.0, Path(alpha / 100, beta / 10))
    whole = NetworkSpec("plain", "for tests", (host,), False, per_host, "block", alpha, beta, **plan)
    return Network(whole, ranks)
