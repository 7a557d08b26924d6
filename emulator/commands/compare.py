"""``python -m emulator compare A B``: which measurements of two results differ; for continuous integration."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from emulator import results
from emulator.errors import UsageError, write_all
from emulator.measure import samples, two_samples
from emulator.measure.two_samples import Timings
from emulator.results import of_this_version
from emulator.run.one_line import OneLineCommand
from emulator.run.options import SHARE

Name = tuple[str, int | None, int | None]  # what was measured, on how many ranks, of which size

_LABELS = ("source", "destination", "senders")


@click.command(cls=OneLineCommand)
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
@click.option("--margin", type=SHARE, default=None,
              help="Smaller differences do not count. [default: 25 % where both sides are one launch timed on the wall "
              "clock, which launches of the same command can differ by; else 0]")  # fmt: skip
@click.option("--full", is_flag=True, help="All measurements, not only those that differ.")
@click.option("--json", "file", metavar="FILE", default=None, help="Write the comparison to this file as well.")
def compare(a: Path, b: Path, margin: float | None, full: bool, file: str | None) -> None:
    """Say which measurements of B differ from those of A; exit status 1 if B is significantly slower in one.

    A and B are run folders or result files, or folders that hold several run folders of the same command: then the
    launches are compared instead of the repetitions of one.
    """
    from emulator.report import terminal
    from emulator.report.views.differences import view
    from emulator.run.console import make_console

    with of_this_version(a):
        first = Side.load(a)
    with of_this_version(b):
        second = Side.load(b)
    with of_this_version(a, b):
        found = differences(first, second, margin)
    unwritten = write_all(lambda: results.write_json(found, file)) if file else None
    terminal.show(view(found, full), make_console())
    if unwritten:
        raise unwritten
    if any(row["outcome"] == "slower" for row in found["measurements"]):
        raise SystemExit(1)


@dataclass(frozen=True)
class Side:
    """The launches of one command, on one side of a comparison."""

    path: Path
    found: list[dict[str, Any]]  # the result of each launch
    timings: dict[Name, Timings]

    @classmethod
    def load(cls, path: Path) -> Side:
        """Read a run folder, a result file, or a folder of run folders.

        Raises
        ------
        UsageError
            There is no result, or the folder holds results of different commands or machines.
        """
        folders = [path]
        if path.is_dir() and not (path / results.RESULT).exists():
            inside = sorted(one.parent for one in path.glob(f"*/{results.RESULT}") if not one.parent.is_symlink())
            folders = inside or folders
        found = [results.load(folder) for folder in folders]
        for result in found[1:]:
            unlike = _unlike(found[0], result)
            if unlike or result["demo"] != found[0]["demo"]:
                different = unlike[0] if unlike else f"demo {found[0]['demo']} and {result['demo']}"
                raise UsageError(
                    f"{path} must hold launches of one command on one machine, got {different}: name a run folder, "
                    "or a folder of runs that are alike"
                )
        return cls(path, found, _timings(found, [folder if folder.is_dir() else folder.parent for folder in folders]))

    @property
    def launches(self) -> int:
        """Number of launches: a run may hold several."""
        return max([len(self.found), *(len(one.launches) for one in self.timings.values())])

    def describe(self) -> dict[str, Any]:
        first = self.found[0]
        command = shlex.join(first["command"])
        return {"path": str(self.path), "launches": self.launches, "started": first["started"], "command": command}


def differences(a: Side, b: Side, margin: float | None = None) -> dict[str, Any]:
    """Compare two sides; the result is plain data.

    Raises
    ------
    UsageError
        Results of different demos or clocks, or without a measurement in common.
    """
    first, second = a.found[0], b.found[0]
    for what in ("demo", "clock"):
        if first[what] != second[what]:
            raise UsageError(
                f"results that are compared have the same {what}, got {first[what]} ({a.path}) and {second[what]} "
                f"({b.path}): compare two runs of one demo by one clock"
            )
    common = [name for name in a.timings if name in b.timings]
    if not common:
        raise UsageError(
            f"{a.path} and {b.path} have no measurement in common (same name, ranks and size): run both with the same "
            "--sizes and number of ranks"
        )
    one_launch = a.launches == b.launches == 1 and first["clock"] == "wall"
    margin = (two_samples.MARGIN_OF_ONE_LAUNCH if one_launch else 0.0) if margin is None else margin
    compared = two_samples.compare({name: (a.timings[name], b.timings[name]) for name in common}, margin)
    return {
        "sides": {"A": a.describe(), "B": b.describe()},
        "unlike": _unlike(first, second) + _loads(first, second),
        "clock": first["clock"],
        "margin": margin,
        "one_launch": one_launch,
        "measurements": [_row(name, one) for name, one in compared.items()],
        "only_in": {"A": len(a.timings) - len(common), "B": len(b.timings) - len(common)},
    }


def _row(name: Name, one: two_samples.Difference) -> dict[str, Any]:
    measurement, ranks, size = name
    finite = math.isfinite(one.ratio) and one.ratio > 0
    return {
        "measurement": measurement, "ranks": ranks, "bytes": size, "A": one.a.median, "B": one.b.median,
        "ratio": one.ratio, "log_ratio": math.log(one.ratio) if finite else None, "p": one.p, "test": one.test,
        "outcome": one.outcome,
    }  # fmt: skip


def _unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Which of network, ranks, cores and MPI two results differ in."""
    networks = [(result["network"] or {}).get("name", "none") for result in (first, second)]
    pairs = {
        what: [result["environment"].get(what) for result in (first, second)] for what in ("ranks", "cores", "mpi")
    }
    return [f"{what} {x} and {y}" for what, (x, y) in {"network": networks, **pairs}.items() if x != y]


def _loads(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The load by other programs, where the two sides differ by more than the number of cores."""
    x, y = ((result["environment"].get("load") or [0.0])[0] for result in (first, second))
    apart = first["clock"] == "wall" and abs(x - y) > first["environment"]["cores"]
    return [f"load of the machine at the start {x:g} and {y:g}"] if apart else []


def _timings(found: list[dict[str, Any]], folders: list[Path]) -> dict[Name, Timings]:
    """The times of each measurement that all launches have, and the recovery times of a drill."""
    launches = [one for result, folder in zip(found, folders, strict=True) for one in _repetitions(result, folder)]
    timings = {}
    for name in [name for name in launches[0] if all(name in one for one in launches)]:
        seconds = [one[name] for one in launches]
        timings[name] = Timings(seconds, float(np.median([np.median(one) for one in seconds])))
    if len(found) == 1 and not timings:  # a command that keeps no samples has medians and the intervals of one launch
        for row in found[0]["measurements"]:
            timings[_name(row)] = Timings((), row["seconds"]["median"], row["seconds"].get("ci95"))
    return timings


def _name(row: Mapping[str, Any]) -> Name:
    """The name of a measurement, or of a sample with columns that distinguish it."""
    what = row.get("algorithm") or row["pattern"]
    labels = [f"{key} {row[key]}" for key in _LABELS if row.get(key) is not None]
    return ", ".join([what, *labels]), row["ranks"], row["bytes"]


def _time(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a time is a number of seconds >= 0, got {seconds:g}")
    return seconds


def _repetitions(result: Mapping[str, Any], folder: Path) -> list[dict[Name, list[float]]]:
    """The times of each measurement, by launch."""
    launches: list[dict[Name, list[float]]] = []
    if (folder / results.SAMPLES).exists():
        raw = results.load_samples(folder)
        # Earlier runs that it took in are not what this one measured.
        for rows in [samples.of_itself(raw)] if result.get("earlier") else samples.split(raw):
            launches.append({})
            for row in rows:
                launches[-1].setdefault(_name(row), []).append(_time(row["seconds"]))
    launches = launches or [{}]
    drill = result["drill"]
    if drill:
        for what in ("recovery_seconds", "seconds"):
            times = [_time(one[what]) for one in drill["repeats"] if one.get(what) is not None]
            if times:
                label = "recovery" if what == "recovery_seconds" else "whole drill"
                launches[0][(f"{drill['pattern']} by {drill['recovery']}: {label}", drill["ranks"], None)] = times
    return launches
