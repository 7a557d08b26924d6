"""Several launches of a command as one result: started one after the other, or found among earlier runs.

A launch is a sample (see `emulator.measure.launches`). Where a demo starts mpirun itself, it starts several short
launches that share the budget and the run folder: each adds its raw samples to those of the launches before it, and the
last one prints. Under mpirun there is one launch, and earlier runs of the same command on the same machine count too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator import results
from emulator.errors import UsageError
from emulator.launch import job, mpirun

if TYPE_CHECKING:
    from emulator.measure.samples import Rows
    from emulator.measure.series import Series
    from emulator.run.demo_run import Run

DEFAULT = 3
_VARIABLE = "CLUSTER_EMULATOR_LAUNCH"
_MOST_EARLIER = 5  # runs: what the machine was long ago says little of it now
_SAME = ("hosts", "placement", "cores", "cpu", "mpi", "mpi4py", "python", "numpy")
_OF_THE_OUTPUT = {"--quiet": 0, "--full": 0, "--json": 1}  # options that measure nothing, and their arguments


def check_ranks(asked: int | None, size: int) -> None:
    """Reject option -n of a command inside a job of another number of ranks."""
    if asked not in (None, size):
        raise UsageError(
            f"-n starts a job from outside mpirun; this one already has {size} ranks, -n says {asked}: leave one out"
        )


@dataclass(frozen=True)
class Launch:
    """One of several launches of a demo: its number from 1, their count, and their run folder."""

    number: int = 1
    of: int = 1
    folder: str | None = None

    @property
    def last(self) -> bool:
        return self.number == self.of


def current() -> Launch:
    """The launch of this process."""
    found = os.environ.get(_VARIABLE)
    return Launch(**json.loads(found)) if found else Launch()


def start(ranks: int, launches: int, name: str, out: str | None) -> int:
    """Start this program under mpirun `launches` times, one after the other; the exit status is the largest.

    Parameters
    ----------
    ranks, launches : of mpirun, and how often it is started
    name, out : of the demo, and the run folder that the user chose
    """
    from emulator.launch import foreground  # with what it imports it takes 12 ms, and no rank starts a job

    arguments = mpirun.command(ranks, mpirun.this_program())
    if launches == 1:
        return foreground.run_filtered(arguments, rank_0_first=True)
    folder = results.run_folder(name, out)
    status = 0
    try:
        for number in range(1, launches + 1):
            one = json.dumps(asdict(Launch(number, launches, str(folder))))
            ended = foreground.run_filtered(arguments, extra_env={_VARIABLE: one}, rank_0_first=True)
            status = max(status, ended)
            if ended > 1 or not _saved(folder):  # refused, ended by a signal, or nothing for the next one to go on from
                break
    finally:
        results.discard(folder)
    return status


def _saved(folder: Path) -> bool:
    """Whether a launch was able to save its measurements."""
    return all((folder / name).is_file() for name in (results.RESULT, results.SAMPLES))


def count(asked: int | None, emulated: bool, traced: bool) -> int:
    """Number of launches to start.

    Raises
    ------
    UsageError
        Several are asked for where there is one: launches do not differ in emulated time, and a timeline is of one.
    """
    reason = "with --net, where launches do not differ" if emulated else "with --trace, which records one launch"
    if not emulated and not traced:
        return DEFAULT if asked is None else asked
    if asked is not None and asked > 1:
        raise UsageError(f"--launches is 1 {reason}, got {asked}: leave it out")
    return 1


def take_up(run: Run) -> None:
    """Take the start time and environment from the result of earlier launches in the run folder; on rank 0.

    Not its failures: they are wrong elements, which `join` adds to those of this launch, so that they are said again.
    """
    if run.launch.number > 1:
        found = results.load(run.folder)
        run.result |= {name: found[name] for name in ("started", "environment")}


def join(run: Run, series: Sequence[Series], alone: bool) -> None:
    """On rank 0, add the samples of earlier launches to `series`, in place, and record this in the result.

    Parameters
    ----------
    alone : leave out earlier runs
    """
    from emulator.measure import samples

    if run.clock != "wall":
        return
    folders: list[Path] = []
    launches: list[samples.Rows] = []
    if run.launch.number > 1:
        launches = samples.split(results.load_samples(run.folder))
        _keep_wrong(results.load(run.folder), series)
    elif not (alone or job.started_by_us() or run.options.out is not None or run.options.trace):
        found = _earlier(run)
        folders, launches = list(found), list(found.values())
    if launches:
        samples.join(series, launches)
    run.result |= {"launches": 1 + len(launches), "earlier": [str(folder) for folder in folders]}


def _keep_wrong(found: Mapping[str, Any], series: Sequence[Series]) -> None:
    """Add the counts of wrong elements of earlier launches, by measurement."""
    from emulator.measure.samples import named

    wrong = {named(row): row["wrong"] or 0 for row in found["measurements"]}
    for one in series:
        one.wrong = (one.wrong or 0) + wrong.get(one.job.name, 0)


def _earlier(run: Run) -> dict[Path, Rows]:
    """The last runs (`_MOST_EARLIER` at most, oldest first) that measured the same with this code on this machine.

    Returns
    -------
    dict
        By run folder the raw samples of its own launch.
    """
    from emulator.measure import samples

    found: dict[Path, Rows] = {}
    changed = _last_change()
    for folder in sorted((one for one in run.folder.parent.iterdir() if not one.is_symlink()), reverse=True):
        path = folder / results.RESULT
        if folder == run.folder or not path.is_file() or path.stat().st_mtime < changed:
            continue
        try:
            other = json.loads(path.read_text(encoding="utf-8"))
            if _comparable(run.result, other):
                found[folder] = samples.of_itself(results.load_samples(folder))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            continue  # not a result of this version, or without its samples
        if len(found) == _MOST_EARLIER:
            break
    return dict(reversed(found.items()))


def _last_change() -> float:
    """When the newest source file was written; a run of older code measured something else."""
    root = Path(__file__).resolve().parents[2]
    rooms = [root / name for name in ("emulator", "primitives", "demos")]
    return max((path.stat().st_mtime for room in rooms for path in room.rglob("*.py")), default=0.0)


def _comparable(ours: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    here, there = ours["environment"], other["environment"]
    return (
        other["clock"] == "wall"
        and other["launches"]  # absent where the run was interrupted
        and not other.get("failures")
        and all(here[name] == there[name] for name in _SAME)
        and _measuring(ours["command"]) == _measuring(other["command"])
    )


def _measuring(command: Sequence[str]) -> list[str]:
    """A command without the options that only say where output goes and which runs count."""
    words, found = iter(command), []
    for word in words:
        name, _, joined = word.partition("=")
        if name == "--alone":
            continue
        if name not in _OF_THE_OUTPUT:
            found.append(word)
        elif _OF_THE_OUTPUT[name] and not joined:
            next(words, None)
    return found
