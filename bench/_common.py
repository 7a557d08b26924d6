"""What the benches share: the rows of a table, jobs that write their figures into a file, contestants in turns."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from emulator.errors import CheckFailed
from emulator.launch import mpirun
from emulator.launch.job import start

Row = dict[str, Any]

_ROOT = Path(__file__).resolve().parents[1]
_ENDS_WITHIN_S = 10.0  # a job that was told to


def row(
    name: str, ours: float | None, unit: str = "", other: float | None = None, *, most: float | None = None,
    least: float | None = None, most_ratio: float | None = None, least_ratio: float | None = None,
) -> Row:  # fmt: skip
    """Make a row: a figure, with another one to compare if given, and its target for the figure or for their ratio."""
    ratio = None if ours is None or other is None else ours / other
    target, met = "", None
    for sign, what, seen, limit in (
        (1, f"<= {most} {unit}", ours, most), (-1, f">= {least} {unit}", ours, least),
        (1, f"ratio <= {most_ratio}", ratio, most_ratio), (-1, f"ratio >= {least_ratio}", ratio, least_ratio),
    ):  # fmt: skip
        if limit is not None and seen is not None:
            target, met = what.strip(), sign * seen <= sign * limit
    return {"name": name, "ours": ours, "other": other, "ratio": ratio, "unit": unit, "target": target, "met": met}


def figures(n: int, module: str, *arguments: object, limit_s: float, ft: bool = False) -> Any:
    """Run ``python -m MODULE FILE ARGUMENTS...`` on `n` ranks; returns what rank 0 wrote into the file as JSON."""
    program = ["-m", module, "{file}", *map(str, arguments)]
    return written(mpirun.command(n, program, ft=ft), limit_s)


def written(command: Sequence[str], limit_s: float) -> Any:
    """Run a command whose word ``{file}`` becomes a file's name; returns what it wrote into that file as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        words = [str(path) if word == "{file}" else word for word in command]
        with start(words, stdout=subprocess.DEVNULL, cwd=_ROOT) as job:
            status = job.wait(timeout=limit_s)
        if not path.exists():
            raise CheckFailed(f"{' '.join(command)} ended with status {status} and no figures within {limit_s:g} s")
        return json.loads(path.read_text())


def cpu_s(command: Sequence[str], limit_s: float) -> float:
    """Seconds of CPU time that a command and all that it starts use."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output(command, limit_s)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def output(
    command: Sequence[str], limit_s: float, cwd: Path | None = None, passed: Sequence[int] = ()
) -> tuple[int, str]:
    """Run a command, in the project's folder by default; returns its exit status and its output.

    That is its standard output, or, for a status in `passed`, its standard error.

    Raises
    ------
    CheckFailed
        It has not ended within `limit_s` seconds and was ended, or its status is neither 0 nor in `passed`.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with start(command, stdout=out, stderr=err, cwd=cwd or _ROOT) as job:
            status = job.wait(limit_s)
            if status is None:
                job.stop(_ENDS_WITHIN_S)
        said, complaint = (_text(file) for file in (out, err))
    if status is None:
        raise CheckFailed(f"{' '.join(command)} has not ended within {limit_s:g} s")
    if status and status not in passed:
        raise CheckFailed(f"{' '.join(command)} ended with status {status}: {complaint.strip()[-300:]}")
    return status, complaint if status else said


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def write(measure: Callable[..., Any]) -> None:
    """Be a rank of `figures`: call ``measure(*arguments)``, of which rank 0 writes the result."""
    from mpi4py import MPI

    path, *arguments = sys.argv[1:]
    found = measure(*arguments)
    if MPI.COMM_WORLD.Get_rank() == 0:
        Path(path).write_text(json.dumps(found))


def in_turns(
    comm: Any, contestants: Mapping[str, Callable[[], float | None]], budget: float, least: int = 3
) -> dict[str, list[float]]:
    """Let all contestants alternate until the budget (s) is spent; returns what each call returned on this rank."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    end, turn, more = time.perf_counter() + budget, 0, True
    while more:
        for name, run in contestants.items():
            comm.Barrier()
            if (figure := run()) is not None:
                found[name].append(figure)
        turn += 1
        more = comm.bcast(turn < least or time.perf_counter() < end)
    return found


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each contestant's figures."""
    from statistics import median

    return {name: median(values) for name, values in found.items() if values}
