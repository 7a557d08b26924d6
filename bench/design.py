"""Predicted against run: skeletons of the five patterns on three networks, with and without spread."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from emulator.errors import CheckFailed
from emulator.launch import mpirun
from emulator.launch.job import start

_RANKS, _NODES = 18, "2,4,8,16"
_TARGETS = {0.0: 0.01, 0.1: 0.05}  # largest error of a step, by spread


def rows(budget: float) -> list[dict[str, Any]]:
    """The largest error of each pattern on each network, of the points with 2 to 16 nodes that the budget allows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "errors.json"
        program = ["-m", "bench._design", str(path), _NODES, f"{budget}"]
        with (Path(folder) / "errors").open("w+") as said:
            with start(mpirun.command(_RANKS, program), stdout=subprocess.DEVNULL, stderr=said) as job:
                status = job.wait(timeout=120 + 2 * budget)
            said.seek(0)
            lines = said.read().split("\n")
        if status or not path.exists():
            last = next((line for line in reversed(lines) if line.strip()), "they said nothing")
            raise CheckFailed(f"the ranks of the bench ended with status {status}: {last}")
        found = json.loads(path.read_text())
    keys = dict.fromkeys((one["pattern"], one["network"], one["spread"]) for one in found)
    return [_row(*key, [one["error"] for one in found if (one["pattern"], one["network"], one["spread"]) == key])
            for key in keys]  # fmt: skip


def _row(pattern: str, network: str, spread: float, errors: list[float]) -> dict[str, Any]:
    worst, target = max(map(abs, errors)), _TARGETS[spread]
    return {"name": f"error of the step: {pattern}, {network}, spread {spread:g}", "ours": worst, "other": None,
            "ratio": None, "unit": "", "target": f"<= {target:g}", "met": worst <= target}  # fmt: skip
