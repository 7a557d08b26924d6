"""``python -m emulator pool RUN RUN ...``: several launches of one demo as one result.

A launch is a factor of its own: where the processes and their buffers come to lie makes the same message dearer or
cheaper for as long as they live. So a single run, however many repetitions it has, can be off by more than its
intervals say. Here the launches are resampled first and the repetitions of each second, and the intervals hold both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from emulator import results
from emulator.errors import UsageError
from emulator.results import environment
from emulator.run.options import OneLineCommand

_ONE_SOURCE = ("schema", "command", "started", "environment", "network", "clock", "pace")


@click.command(cls=OneLineCommand)
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(), default=None, help="Run folder to write to. [default: runs/pool/<time>]")
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap.")
@click.option("--full", is_flag=True, help="Print everything instead of one screen.")
def pool(runs: tuple[Path, ...], out: str | None, seed: int, full: bool) -> None:
    """Fit several launches of demos.ring together: alpha, beta and gamma with intervals over launches.

    for i in 1 2 3 4 5; do mpirun -n 16 python -m demos.ring --out runs/five/$i; done

    python -m emulator pool runs/five/*
    """
    from emulator.report import page, terminal
    from emulator.report.views import view
    from emulator.report.views.links import launches
    from emulator.run.console import make_console

    found = [results.load(run) for run in runs]
    _alike(found)  # what they are is a better reason than the samples that they lack
    samples = [results.load_samples(run if run.is_dir() else run.parent) for run in runs]
    loaded = list(zip(found, samples, strict=True))
    result = pooled(loaded, seed)
    printer = make_console()
    terminal.show([launches(found), *view(results.plain(result))], printer, full)
    folder = results.run_folder("pool", out)
    results.save(result, folder / results.RESULT)
    if problem := page.keep(folder, result):
        raise problem
    terminal.show([page.where(folder)], printer)


def pooled(loaded: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]], seed: int = 0) -> dict[str, Any]:
    """One result of several launches.

    Parameters
    ----------
    loaded : the result and the raw samples of each launch
    seed : of the bootstrap

    Raises
    ------
    UsageError
        Fewer than two launches; runs of a demo without collectives, of different jobs, or on an emulated network.
    """
    from emulator.measure.series import Job, Series
    from emulator.measure.terms import fit_run, uncrowded

    first = _alike([result for result, _ in loaded])
    series: dict[tuple[str, int, int], Series] = {}
    for launch, (_, samples) in enumerate(loaded):
        for row in samples:
            key = (row["pattern"], row["ranks"], row["bytes"])
            labels = {"algorithm": row["algorithm"]} if row.get("algorithm") else {}
            one = series.setdefault(key, Series(Job(*key, members=tuple(range(row["ranks"])), labels=labels)))
            one.seconds.append(float(row["seconds"]))
            one.skews.append(float(row["skew"] or 0.0))
            one.launches.append(launch)
    patterns = [fit["pattern"] for fit in first["fits"] if fit["level"] == "collective"]
    machine = first["environment"]
    hosts = environment.rank_hosts(machine)
    crowding = environment.crowding(hosts, machine["cores"]) if hosts else uncrowded
    found = fit_run(list(series.values()), patterns, first["itemsize"], crowding, seed)
    t_comp = first["meaning"][0]["t_comp"] if first.get("meaning") else 0.1
    return {
        **{key: first[key] for key in _ONE_SOURCE},
        "demo": first["demo"],
        "launches": len(loaded),
        **found.content(list(series.values()), t_comp),
        "warnings": sorted({warning for result, _ in loaded for warning in result["warnings"]}),
        "failures": [failure for result, _ in loaded for failure in result["failures"]],
        "fidelity": None,
        "drill": None,
    }


def _alike(found: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first of these results, after a check that they are launches of one job."""
    if len(found) < 2:
        raise UsageError(f"a pool is of 2 run folders or more, got {len(found)}: python -m emulator pool RUN RUN ...")
    first = found[0]
    for result in found:
        what = f"got that of {' '.join(result['command'])} on {result['started']}"
        if result["demo"] != "ring" or "itemsize" not in result:
            raise UsageError(f"a pool is of results of demos.ring, {what}: name run folders of demos.ring")
        if result["clock"] != "wall":
            raise UsageError(
                f"a pool is of runs on the bare transport, {what} on an emulated network: launches do not differ there"
            )
        for what in ("ranks", "cores", "hosts", "mpi"):
            ours, theirs = result["environment"][what], first["environment"][what]
            if ours != theirs:
                raise UsageError(
                    f"launches of one pool run on the same {what}, got {theirs} and {ours}: pool those that are alike"
                )
        if [fit["pattern"] for fit in result["fits"]] != [fit["pattern"] for fit in first["fits"]]:
            raise UsageError("launches of one pool measure the same patterns: run them with the same --algorithm")
    return first
