"""Small tasks per second through one coordinator with three workers, beside mpi4py.futures and dask.distributed.

dask.distributed is measured where it is installed: in this Python, or in the one that ``BENCH_DASK_PYTHON`` names.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from bench._common import Row, figures, medians, row, written
from emulator.errors import CheckFailed

_RANKS = 4
_ENOUGH_S = 10.0
_START_S = 20.0  # what a job may take beside its budget; a contestant that takes longer has no figures


def rows(budget: float) -> Iterator[Row]:
    """Tasks per second, medians over turns in which the contestants of a job alternate."""
    share = min(budget / 2, _ENOUGH_S)
    ours = medians(figures(_RANKS, "bench._tasks", share, limit_s=2 * share + _START_S))
    batches, single = ours["ours"], ours["ours, one by one"]
    yield row("tasks/s, batches measured, 3 workers", batches, "1/s", least=20_000)
    # theirs returns bare values: no durations, retries, or filter against second results
    yield row("the same (other: mpi4py.futures, chunks of 100)", batches, "1/s", ours["futures"], least_ratio=0.8)
    yield row("tasks/s, one by one (other: mpi4py.futures)", single, "1/s", ours["futures, one by one"])
    yield row("tasks/s, work stealing, 4 ranks work", ours["stealing"], "1/s")
    dask = _dask(share)
    why = "" if dask else " (no dask here)"
    yield row(f"tasks/s, batches (other: dask.distributed, chunks of 100){why}", batches, "1/s", dask.get("chunks"))
    yield row(f"tasks/s, one by one (other: dask.distributed){why}", single, "1/s", dask.get("one by one"))


def _dask(budget: float) -> dict[str, float]:
    """Medians of dask.distributed's rates; none where it is not installed or does not start in time."""
    python = os.environ.get("BENCH_DASK_PYTHON") or (importlib.util.find_spec("distributed") and sys.executable)
    if not python:
        return {}
    program = str(Path(__file__).with_name("_tasks_dask.py"))
    try:
        return medians(written([python, program, "{file}", str(budget)], 2 * budget + _START_S))
    except CheckFailed:
        return {}
