"""``python -m emulator pool RUN RUN ...``: several launches of one demo as one result.

A launch is a factor of its own: where the processes and their buffers come to lie makes the same message dearer or
cheaper for as long as they live. So a single run, however many repetitions it has, can be off by more than its
intervals say. The intervals here say where a further launch will be (see `emulator.measure.launches`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from emulator import results
from emulator.errors import UsageError
from emulator.results import environment
from emulator.run.one_line import OneLineCommand
from emulator.run.options import sharing

_ONE_SOURCE = ("schema", "command", "started", "environment", "network", "clock", "pace")


@click.command(cls=OneLineCommand)
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@sharing(
    "out", "seed", "full", out={"help": "Run folder; absent: runs/pool/<UTC time>."}, seed={"help": "Of the bootstrap."}
)
def pool(runs: tuple[Path, ...], out: str | None, seed: int, full: bool) -> None:
    """Fit several launches of demos.ring together: alpha, beta and gamma with intervals over launches.

    for i in 1 2 3 4 5; do mpirun -n 16 python -m demos.ring --out runs/five/$i; done

    python -m emulator pool runs/five/*
    """
    from emulator.report import page, terminal
    from emulator.report.views import view
    from emulator.report.views.links import launches
    from emulator.run.console import make_console

    result, found = pooled(runs, seed)
    printer = make_console()
    terminal.show([launches(found), *view(results.plain(result))], printer, full)
    folder = results.run_folder("pool", out)
    results.save(result, folder / results.RESULT)
    if problem := page.keep(folder, result, printer):
        raise problem


def pooled(runs: Sequence[Path], seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Make one result of several launches; returns it and the results that it is made of.

    Parameters
    ----------
    runs : run folders of demos.ring, or their result files
    seed : of the bootstrap

    Raises
    ------
    UsageError
        Fewer than two launches, the same one twice, runs of a demo without collectives, of different jobs, or on an
        emulated network.
    """
    from emulator.measure import samples
    from emulator.measure.terms import fit_run, uncrowded

    found = [results.load(run) for run in runs]
    _check_alike(runs, found)  # what they are is a better reason than the samples that they lack
    launches: list[samples.Rows] = []
    for run in runs:
        more = samples.split(results.load_samples(run if run.is_dir() else run.parent))
        known, launches = len(launches), samples.distinct([*launches, *more])
        if len(launches) == known:
            raise UsageError(
                f"each run must add a launch, {run} contains only launches of the runs before it: name each run once"
            )
    first = found[0]
    series = samples.series_of([row for rows in launches for row in rows])
    samples.join(series, launches)
    patterns = [fit["pattern"] for fit in first["fits"] if fit["level"] == "collective"]
    machine = first["environment"]
    hosts = environment.rank_hosts(machine)
    crowding = environment.crowding(hosts, machine["cores"]) if hosts else uncrowded
    fits = fit_run(series, patterns, first["itemsize"], crowding, seed)
    t_comp = first["meaning"][0]["t_comp"] if first.get("meaning") else 0.1
    result = {
        **{key: first[key] for key in _ONE_SOURCE},
        "demo": first["demo"],
        "launches": len(launches),
        **fits.content(series, t_comp),
        "warnings": sorted({warning for result in found for warning in result["warnings"]}),
        "failures": [failure for result in found for failure in result["failures"]],
        "fidelity": None,
        "drill": None,
    }
    return result, found


def _check_alike(runs: Sequence[Path], found: Sequence[Mapping[str, Any]]) -> None:
    """Check that these results are launches of the same job."""
    if len(found) < 2:
        raise UsageError(f"a pool is of 2 run folders or more, got {len(found)}: python -m emulator pool RUN RUN ...")
    first = found[0]
    for run, result in zip(runs, found, strict=True):
        if result["demo"] != "ring" or "itemsize" not in result:
            command = shlex.join(result["command"])
            raise UsageError(f"a pool is of results of demos.ring, got that of {command} in {run}: leave it out")
        if result["clock"] != "wall":
            raise UsageError(
                f"a pool is of runs on the bare transport, {run} is on an emulated network, where launches do "
                "not differ"
            )
        for what in ("ranks", "cores", "hosts", "cpu", "mpi"):
            ours, theirs = result["environment"].get(what), first["environment"].get(what)
            if ours != theirs:
                raise UsageError(
                    f"launches of one pool have the same {what}, got {theirs} in {runs[0]} and {ours} in {run}: pool "
                    "those that are alike"
                )
        ours, theirs = _jobs(result), _jobs(first)
        if ours != theirs:
            raise UsageError(
                f"launches of one pool measure the same patterns, ranks and sizes, {runs[0]} and {run} do not: pool "
                "runs with the same --algorithm, --ranks and --sizes"
            )


def _jobs(result: Mapping[str, Any]) -> set[tuple[str, int, int]]:
    return {(row["pattern"], row["ranks"], row["bytes"]) for row in result["measurements"]}
