"""Traces of simulated ranks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulator import sim
from emulator.network import Host, Network, NetworkSpec, Nic
from emulator.network import Path as Way
from emulator.trace import loading, tracing
from emulator.trace.loading import Trace

ALPHA, BETA = 50e-6, 0.8e-9


def network(ranks: int, alpha: float = ALPHA) -> Network:
    """Like hosts at 10 Gbit/s, one rank on each."""
    host = Host("h", Nic(BETA, BETA), 1.0, Way(alpha, BETA))
    return Network(NetworkSpec("traced", "", (host,), False, 1, "block", alpha, BETA), ranks)


def record(program: Callable[[Any], None], ranks: int, *, limit: int | None = None, net: Network | str = "") -> Trace:
    """Run a program on simulated ranks and give its trace."""
    with tempfile.TemporaryDirectory() as folder:

        def traced(comm: Any) -> None:
            recorder = tracing.begin(comm, Path(folder), limit=limit, clock="simulated")
            program(comm)
            tracing.end(comm, recorder)

        sim.run(traced, ranks, net or network(ranks))
        return loading.load(folder)
