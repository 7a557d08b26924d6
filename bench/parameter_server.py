"""Pushes and pulls per second through one server with three workers, beside the plainest pickled server."""

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

_RANKS = 4
_ENOUGH_S = 12.0


def rows(budget: float) -> list[dict[str, Any]]:
    """Steps (a push and a pull) and messages per second; medians of five turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates.json"
        program = ["-m", "bench._push_pull", str(path), str(min(budget, _ENOUGH_S))]
        with start(mpirun.command(_RANKS, program), stdout=subprocess.DEVNULL) as job:
            status = job.wait(timeout=60 + 3 * budget)
        if not path.exists():
            raise CheckFailed(f"the ranks of the bench ended with status {status} and no rates")
        rates = {name: statistics.median(values) for name, values in json.loads(path.read_text()).items()}
    return [
        _row("messages/s, push + pull of 512 B (other: pickled)", 2 * rates["small"], 2 * rates["pickled"]),
        _row("GB/s through the server, push + pull of 1 MiB (other: pickled)",
             2 * rates["large"] * 2**20 / 1e9, 2 * rates["large pickled"] * 2**20 / 1e9, "GB/s"),
        _row("messages/s, push + pull of 256 of 65536 rows", 2 * rates["sparse"], None),
        _row("pushes/s of 512 B, flushed every 50", rates["push"], None),
    ]  # fmt: skip


def _row(name: str, ours: float, other: float | None, unit: str = "1/s") -> dict[str, Any]:
    ratio = None if other is None else ours / other
    return {"name": name, "ours": ours, "other": other, "ratio": ratio, "unit": unit, "target": "", "met": None}
