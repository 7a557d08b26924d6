"""Small tasks per second through one coordinator with three workers, beside mpi4py.futures and dask.distributed.

dask.distributed is measured where it is installed: in this Python, or in the one that ``BENCH_DASK_PYTHON`` names.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from emulator import launch
from emulator.errors import CheckFailed

_RANKS = 4
_ENOUGH_S = 10.0
_TARGET = 20_000
_DASK_LIMIT_S = 120


def rows(budget: float) -> list[dict[str, Any]]:
    """Tasks per second, medians over turns in which all contestants of an MPI job alternate."""
    with tempfile.TemporaryDirectory() as folder:
        ours = _ranks(Path(folder) / "rates.json", min(budget, _ENOUGH_S))
        dask = _dask(Path(folder) / "dask.json")
    chunks, single = dask.get("chunks"), dask.get("one by one")
    batched = "batches measured, theirs 100"
    return [
        _row(f"tasks/s, {batched} (other: mpi4py.futures)", ours["ours"], ours["futures"], _TARGET),
        _row(f"tasks/s, {batched} (other: dask.distributed)", ours["ours"], chunks, _TARGET),
        _row("tasks/s, one by one (other: mpi4py.futures)", ours["ours, one by one"], ours["futures, one by one"]),
        _row("tasks/s, one by one (other: dask.distributed)", ours["ours, one by one"], single),
        _row("tasks/s, work stealing, 4 ranks work", ours["stealing"], None),
    ]


def _ranks(path: Path, budget: float) -> dict[str, float]:
    program = ["-m", "bench._tasks", str(path), str(budget)]
    with launch.start(launch.command(_RANKS, program), stdout=subprocess.DEVNULL) as job:
        status = job.wait(timeout=60 + 5 * budget)
    if not path.exists():
        raise CheckFailed(f"the ranks of the bench ended with status {status} and no rates")
    return _medians(path)


def _dask(path: Path) -> dict[str, float]:
    """Medians of dask.distributed's rates; none where it is not installed or does not end in time."""
    python = os.environ.get("BENCH_DASK_PYTHON")
    if python is None:
        if importlib.util.find_spec("distributed") is None:
            return {}
        python = sys.executable
    program = Path(__file__).with_name("_tasks_dask.py")
    with launch.start([python, str(program), str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
        job.wait(timeout=_DASK_LIMIT_S)
    return _medians(path) if path.exists() else {}


def _medians(path: Path) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in json.loads(path.read_text()).items()}


def _row(name: str, ours: float, other: float | None, target: float | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "other": other,
        "ratio": None if other is None else ours / other,
        "unit": "1/s",
        "target": "" if target is None else f">= {target}/s",
        "met": None if target is None else ours >= target,
    }
