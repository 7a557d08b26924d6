"""The page of a default run of the ring: how long making it takes, a Python process included, and its size."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from emulator.errors import CheckFailed
from emulator.launch import mpirun
from emulator.launch.job import environment

RANKS, LIMIT_S, LIMIT_BYTES = 16, 3.0, 1_000_000
_TIMES = 5


def rows(budget: float) -> list[dict[str, Any]]:
    """Run the ring for a part of the budget, and write its page several times."""
    with tempfile.TemporaryDirectory() as folder:
        ring = ["-m", "demos.ring", "--quiet", "--budget", f"{budget / 4:g}", "--out", folder]
        _run(mpirun.command(RANKS, ring))
        file, taken = Path(folder) / "page.html", []
        for _ in range(_TIMES):
            begin = time.perf_counter()
            _run([sys.executable, "-m", "emulator", "report", folder, "-o", str(file)])
            taken.append(time.perf_counter() - begin)
        size = file.stat().st_size
    median = statistics.median(taken)
    what = f"page of a ring of {RANKS} ranks and 21 sizes"
    return [
        _row(f"{what} (median of {_TIMES})", median, "s", f"<= {LIMIT_S} s", median <= LIMIT_S),
        _row(f"{what}: its size", size, "B", f"< {LIMIT_BYTES / 1e6:g} MB", size < LIMIT_BYTES),
    ]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailed(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _row(name: str, ours: float, unit: str, target: str, met: bool) -> dict[str, Any]:
    return {"name": name, "ours": ours, "other": None, "ratio": None, "unit": unit, "target": target, "met": met}
