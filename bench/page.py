"""The page of a default run of the ring: how long making it takes, a Python process included, and its size."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench._common import Row, output, row
from emulator.launch import mpirun

RANKS, LIMIT_S, LIMIT_BYTES = 16, 3.0, 1_000_000
_TIMES, _WITHIN_S = 5, 120.0


def rows(budget: float) -> list[Row]:
    """Run the ring for a part of the budget, and write its page several times."""
    with tempfile.TemporaryDirectory() as folder:
        ring = ["-m", "demos.ring", "--quiet", "--budget", f"{budget / 4:g}", "--out", folder]
        output(mpirun.command(RANKS, ring), _WITHIN_S + budget)
        file, taken = Path(folder) / "page.html", []
        for _ in range(_TIMES):
            begin = time.perf_counter()
            output([sys.executable, "-m", "emulator", "report", folder, "-o", str(file)], _WITHIN_S)
            taken.append(time.perf_counter() - begin)
        size = file.stat().st_size
    what = f"page of a ring of {RANKS} ranks and 21 sizes"
    return [
        row(f"{what} (median of {_TIMES})", statistics.median(taken), "s", most=LIMIT_S),
        row(f"{what}: its size", size, "B", most=LIMIT_BYTES),
    ]
