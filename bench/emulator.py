"""What emulating costs and how exact it is: CPU per message, messages per second, error in emulated and wall time."""

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

_LIMIT_S = 180.0


def rows(budget: float) -> list[dict[str, Any]]:
    """Measure each figure in a job of its own, within `budget` seconds if the machine is quiet."""
    share = max(1.0, budget / 8)
    cost, ring, patterns = _job(2, "cost", share), _job(16, "ring", share), _job(16, "patterns", share)
    paced, large = _job(16, "paced", share), _job(64, "large", share)
    median = {name: statistics.median(values) for name, values in cost.items()}
    return [
        _row("CPU to send 64 bytes", "us", median["send"], "< 10 us", 10.0, other=median["send bare"]),
        _row("CPU to receive 64 bytes", "us", median["receive"], "< 10 us", 10.0, other=median["receive bare"]),
        _row("ring of 16: messages per second and core", "1/s", statistics.median(ring["rate"])),
        _row("ring of 16: error of the emulated time", "", max(ring["error"]), "<= 1e-9", 1e-9),
        _row("collectives, p = 2 3 5 8 13 16: error", "", max(patterns["error"]), "<= 1e-9", 1e-9),
        _row("the same: messages out of order", "", patterns["inversions"][0]),
        _row("alpha, recovered by a fit: error", "%", 100 * abs(patterns["alpha"][0]), "<= 1 %", 1.0),
        _row("beta, recovered by a fit: error", "%", 100 * abs(patterns["beta"][0]), "<= 1 %", 1.0),
        _row("paced ring of 16, alpha 500 us: pace", "", paced["pace"][0]),
        _row("paced: wall / pace, off by", "%", 100 * max(map(abs, paced["off"])), "<= 3 %", 3.0),
        _row("paced: late receives", "%", 100 * paced["overruns"][0], "<= 1 %", 1.0),
        _row("64 ranks: ring all-reduce of 1 MiB", "s", statistics.median(large["seconds"]), "<= 10 s", 10.0),
    ]


def _row(
    name: str, unit: str, ours: float, target: str = "", most: float | None = None, other: float | None = None
) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "other": other,
        "ratio": None if other is None else ours / other,
        "unit": unit,
        "target": target,
        "met": None if most is None else ours <= most,
    }


def _job(n: int, what: str, budget: float) -> dict[str, list[float]]:
    """Run one task of `bench._emulated` on `n` ranks and give its figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        command = mpirun.command(n, ["-m", "bench._emulated", what, str(path), str(budget)])
        with start(command, stdout=subprocess.DEVNULL) as job:
            status = job.wait(timeout=_LIMIT_S + budget)
        if not path.exists():
            raise CheckFailed(f"the bench {what!r} on {n} ranks ended with status {status} and no figures")
        figures: dict[str, list[float]] = json.loads(path.read_text())
    return figures
