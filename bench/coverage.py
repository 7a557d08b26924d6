"""How often intervals over three launches hold what the next launch finds: alpha and beta of link and ring, and p*."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench._common import Row, row
from emulator import results
from emulator.errors import CheckFailed
from emulator.launch import mpirun
from emulator.launch.job import start
from emulator.measure import samples
from emulator.measure.terms import RunFits, fit_run
from emulator.results import environment

SETS, TOGETHER, RANKS = 20, 3, 4
_SIZES = "8,64,512,4K,16K,64K,256K,1M"
_T_COMP = 0.1  # seconds of a step
_LIMIT_S = 300.0
_TERMS = ("link alpha", "link beta", "ring alpha", "ring beta", "p*")


def rows(budget: float) -> Iterator[Row]:
    """Start enough launches for the sets, overlapping ones, and count the intervals that held the next launch."""
    with tempfile.TemporaryDirectory() as folder:
        launches = [_launch(Path(folder) / str(number), budget) for number in range(SETS + TOGETHER)]
    held: dict[str, list[bool]] = {name: [] for name in _TERMS}
    for first in range(SETS):
        further = first + TOGETHER
        values = {name: value for name, (value, _) in _figures(_fits(launches[further : further + 1])).items()}
        for name, (_, interval) in _figures(_fits(launches[first:further])).items():
            if interval is not None:  # none is claimed where a point has fewer than 6 repetitions
                held[name].append(interval[0] <= values[name] <= interval[1])
    yield row("sets of launches with enough repetitions for intervals", min(map(len, held.values())), least=SETS)
    for name, found in held.items():
        share = 100 * sum(found) / len(found) if found else None
        yield row(f"{name}: 95 % intervals of {TOGETHER} launches that hold the next", share, "%", least=90)


def _launch(folder: Path, budget: float) -> samples.Rows:
    """The raw samples of one launch of the ring demo."""
    share = max(1.0, budget / (SETS + TOGETHER))
    program = ["-m", "demos.ring", "--quiet", "--alone", "--budget", f"{share:g}", "--sizes", _SIZES, "--out", folder]
    command = mpirun.command(RANKS, list(map(str, program)))
    for _ in range(3):  # a launch that never began is made again
        with start(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).resolve().parents[1]) as job:
            if job.wait(timeout=_LIMIT_S) == 0:
                return results.load_samples(folder)
    raise CheckFailed(f"a launch of demos.ring did not end well within {_LIMIT_S:g} s")


def _fits(launches: Sequence[samples.Rows]) -> RunFits:
    series = samples.series_of([row for rows in launches for row in rows])
    samples.join(series, launches)
    return fit_run(series, ["ring"], 4, environment.crowding(["here"] * RANKS))


def _figures(found: RunFits) -> dict[str, tuple[float, Sequence[float] | None]]:
    """Value and interval of each figure."""
    link, ring = found.link.headline, found.collectives["ring"].headline
    meaning = found.meaning("ring", 1 << 20, _T_COMP)
    figures = [(one.estimate(column)["value"], one.interval(column)) for one in (link, ring) for column in (0, 1)]
    return dict(zip(_TERMS, [*figures, (meaning["best"]["p"], meaning["best_ci95"])], strict=True))
