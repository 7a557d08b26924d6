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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from emulator.errors import CheckFailed
from emulator.launch import mpirun
from emulator.launch.job import start

_RANKS = 4
_ENOUGH_S = 10.0
_START_S = 20.0  # what a job may take beside its budget; a contestant that takes longer has no figures
_TARGET = 20_000


def rows(budget: float) -> Iterator[dict[str, Any]]:
    """Tasks per second, medians over turns in which the contestants of a job alternate."""
    share = min(budget / 2, _ENOUGH_S)
    ours = _rates(lambda path: mpirun.command(_RANKS, ["-m", "bench._tasks", path, str(share)]), share)
    if not ours:
        raise CheckFailed(f"the ranks of the bench had no rates within {2 * share + _START_S:g} s")
    yield _row("tasks/s, batches measured, 3 workers", ours["ours"], None, f">= {_TARGET}/s", _TARGET)
    # theirs returns bare values: no durations, retries, or filter against second results
    yield _row(
        "the same (other: mpi4py.futures, chunks of 100)",
        ours["ours"],
        ours["futures"],
        ">= 0.8 of theirs",
        0.8 * ours["futures"],
    )
    yield _row("tasks/s, one by one (other: mpi4py.futures)", ours["ours, one by one"], ours["futures, one by one"])
    yield _row("tasks/s, work stealing, 4 ranks work", ours["stealing"], None)
    dask = _dask(share)
    why = "" if dask else " (no dask here)"
    yield _row(f"tasks/s, batches (other: dask.distributed, chunks of 100){why}", ours["ours"], dask.get("chunks"))
    yield _row(f"tasks/s, one by one (other: dask.distributed){why}", ours["ours, one by one"], dask.get("one by one"))


def _dask(budget: float) -> dict[str, float]:
    """Medians of dask.distributed's rates; none where it is not installed or does not start in time."""
    python = os.environ.get("BENCH_DASK_PYTHON")
    if python is None:
        if importlib.util.find_spec("distributed") is None:
            return {}
        python = sys.executable
    program = str(Path(__file__).with_name("_tasks_dask.py"))
    return _rates(lambda path: [python, program, path, str(budget)], budget)


def _rates(command: Callable[[str], list[str]], budget: float) -> dict[str, float]:
    """Medians of what a job wrote to the file that it was given, complete or cut off at its limit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates.json"
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with start(command(str(path)), **quiet) as job:
            job.wait(timeout=2 * budget + _START_S)
        rates = json.loads(path.read_text()) if path.exists() else {}
    return {name: statistics.median(values) for name, values in rates.items() if values}


def _row(name: str, ours: float, other: float | None, target: str = "", least: float | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "other": other,
        "ratio": None if other is None else ours / other,
        "unit": "1/s",
        "target": target,
        "met": None if least is None else ours >= least,
    }
