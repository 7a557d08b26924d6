"""Rounds and messages of gossip per second among four ranks on a ring, beside MPI_Neighbor_allgather."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from emulator.errors import CheckFailed
from emulator.launch import mpirun
from emulator.launch.job import start

_RANKS, _DEGREE = 4, 2
_ENOUGH_S = 8.0


def rows(budget: float) -> list[dict[str, Any]]:
    """Medians over turns in which all contestants alternate."""
    share = min(budget, _ENOUGH_S)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates.json"
        program = ["-m", "bench._gossip", str(path), str(share)]
        with start(mpirun.command(_RANKS, program), stdout=subprocess.DEVNULL) as job:
            status = job.wait(timeout=40 + 3 * share)
        if not path.exists():
            raise CheckFailed(f"the ranks of the bench ended with status {status} and no rates")
        rates = {name: statistics.median(values) for name, values in json.loads(path.read_text()).items()}
    messages = _RANKS * _DEGREE
    native = "other: MPI_Neighbor_allgather"
    return [
        _row(f"rounds/s on a ring, 512 B ({native})", rates["small"], rates["small native"]),
        _row(f"messages/s on a ring, 512 B ({native})", messages * rates["small"], messages * rates["small native"]),
        _row(f"rounds/s on a ring, 1 MiB ({native})", rates["large"], rates["large native"]),
        _row("rounds/s of push-sum, complete graph, 512 B", rates["push-sum"], None),
    ]


def _row(name: str, ours: float, other: float | None) -> dict[str, Any]:
    ratio = None if other is None else ours / other
    return {"name": name, "ours": ours, "other": other, "ratio": ratio, "unit": "1/s", "target": "", "met": None}
