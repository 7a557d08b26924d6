"""Run a drill, the job once without faults and then with them; make its part of `result.json`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.measure import statistics
from emulator.trace import folder as traces
from faults.checkpoint.store import MARK, Store
from faults.drill.checks import Evaluation, evaluate
from faults.drill.job_spec import FILE, JobSpec
from faults.drill.request import Request
from faults.drill.training import DATA, save_digits
from faults.launch import two_hosts
from faults.launch.supervise import Finished, need_ulfm, supervise
from faults.patterns import catalogue
from faults.record.journal import PHASE_ENDS

STEADY = "steady"
"""The folder of the job without faults."""
_OF_A_REPEAT = ("recovered", "recovery_seconds", "phases", "lost_steps", "throughput", "seconds")


def repeat_folder(number: int) -> str:
    """The folder of a repeat, inside the drill's folder."""
    return f"repeat-{number:03d}"


@dataclass
class Outcome:
    """The fault-free run of a job, and the repeats of its drill."""

    job: JobSpec
    fault_free_s: float = 0.0
    evaluations: list[Evaluation] = field(default_factory=list)
    timeline: dict[str, Any] | None = None
    """What each rank of the first repeat did when, if that was traced."""

    @property
    def failed(self) -> Evaluation | None:
        """The first repeat that did not recover."""
        return next((j for j in self.evaluations if not j.recovered), None)

    @property
    def recovered(self) -> bool:
        return self.failed is None

    def to_json(self) -> dict[str, Any]:
        """The drill's part of the result file: figures of the first repeat, medians and intervals over all."""
        job, first, failed, repeats = self.job, self.evaluations[0], self.failed, self.evaluations
        recovery = _spread(j.recovery_seconds for j in repeats)
        phases = {p: _spread(j.phases.get(p) for j in repeats) for p in PHASE_ENDS if any(j.phases for j in repeats)}
        throughput = {when: _spread(j.throughput[when] for j in repeats) for when in ("before", "after")}
        return {
            "pattern": job.pattern,
            "ranks": job.ranks,
            "spares": job.spares,
            "ranks_after": first.ranks_after,
            "recovery": job.recovery,
            "episodes": [episode.to_json(first.episodes[0].began) for episode in first.episodes],
            "joins": [vars(join) | {"at": join.at - first.episodes[0].began} for join in first.joins if first.episodes],
            "detector": job.detector,
            "faults": [
                one | {"fired": all(j.fired[number]["fired"] for j in repeats)}
                for number, one in enumerate(first.fired)
            ],
            "outcome": "failed" if failed else "recovered",
            "failed_at": {"phase": failed.phase, "why": failed.reason} if failed else None,
            "phases": {phase: _median(of) for phase, of in phases.items()},
            "phases_spread": phases,
            "recovery_seconds": _median(recovery),
            "recovery_spread": recovery,
            "lost_steps": max(j.lost_steps for j in repeats),
            "result_matches": all(j.checks["result"][0] for j in repeats),
            "checks": {name: {"ok": ok, "seen": text} for name, (ok, text) in (failed or first).checks.items()},
            "throughput": {when: _median(of) for when, of in throughput.items()},
            "throughput_spread": throughput,
            "overhead": {
                "fault_free_seconds": self.fault_free_s,
                "drill_seconds": _median(_spread(j.seconds for j in repeats)),
            },
            "repeats": [{name: getattr(j, name) for name in _OF_A_REPEAT} for j in repeats],
        }


def _spread(values: Iterable[float | None]) -> dict[str, Any] | None:
    """Median and interval of the values that are not None."""
    measured = [value for value in values if value is not None]
    return statistics.summary(measured) if measured else None


def _median(of: dict[str, Any] | None) -> float | None:
    return of["median"] if of else None


def run(
    request: Request, folder: Path, *, steady: bool = True, seen: Callable[[Outcome], None] | None = None
) -> Outcome:
    """Carry out a drill in `folder`.

    Parameters
    ----------
    steady : run the job without faults first: if that is not right, no recovery can be judged
    seen : called after the fault-free job and after each repeat, with the outcome so far

    Raises
    ------
    UsageError
        Bad input, no ULFM where it is needed, or a job that fails without any fault.
    """
    mpi = mpirun.find_mpi()
    job = check(request, folder, mpi)
    outcome = Outcome(job, _steady_state(job, folder / STEADY, mpi) if steady else 0.0)
    if seen:
        seen(outcome)
    for repeat in range(request.repeat):
        place, first = folder / repeat_folder(repeat), folder / (STEADY if steady else repeat_folder(0))
        finished, evaluation = launch_once(request.spec(request.seed + repeat), place, mpi, first / DATA)
        outcome.evaluations.append(evaluation)
        outcome.timeline = outcome.timeline or finished.timeline
        if seen:
            seen(outcome)
    return outcome


def check(request: Request, folder: Path, mpi: mpirun.Mpi) -> JobSpec:
    """Resolve the request, and reject what cannot be done before anything is started.

    Raises
    ------
    UsageError
        As `run`, but for a job that fails without any fault.
    """
    spec = request.spec()
    if not spec.simulate:
        need_ulfm(mpi, spec.recovery)
    if spec.real_hosts:
        two_hosts.check(mpi, spec.ranks)
    for job in (STEADY, *map(repeat_folder, range(request.repeat))):
        _check_free(folder / job)
        if spec.on_disk and spec.checkpoint["folder"]:
            _own_checkpoints(spec, job)
    return spec


def launch_once(
    spec: JobSpec, folder: Path, mpi: mpirun.Mpi, digits: Path | None = None
) -> tuple[Finished, Evaluation]:
    """Prepare a job's folder, run the job to its end, and check it.

    Parameters
    ----------
    digits : the training data of another job of the same drill, of which this one gets a link
    """
    _check_free(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if spec.checkpoint["folder"] and spec.on_disk:
        spec.checkpoint = spec.checkpoint | {"folder": _own_checkpoints(spec, folder.name)}
    if catalogue.of(spec).trains:
        save_digits(folder / DATA, digits)
    finished = simulated(spec, folder) if spec.simulate else supervise(spec, folder, mpi)
    if spec.trace:
        finished.timeline = traces.conclude(folder)
    return finished, evaluate(finished)


def simulated(spec: JobSpec, folder: Path) -> Finished:
    """Run the job on simulated ranks."""
    from faults.simulate.job import simulate  # it loads MPI, which a launcher does without

    return simulate(spec, folder)


def _check_free(folder: Path) -> None:
    """Reject a folder with files other than an earlier job's: it is emptied before the job begins."""
    if folder.exists() and not (folder / FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"a job's folder is empty or an earlier job's, {folder} holds something else: choose another with --out DIR"
        )


def _own_checkpoints(spec: JobSpec, job: str) -> str:
    """Make an empty folder for this job's checkpoints in the chosen one.

    Raises
    ------
    UsageError
        It cannot be written, holds something that is no checkpoint, or belongs to another job.
    """
    folder = Path(spec.checkpoint["folder"]) / job
    foreign = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if foreign and MARK not in foreign:
        raise UsageError(
            f"a folder for checkpoints is empty or holds checkpoints, {folder} holds {foreign[0]!r}: "
            f"choose another with --checkpoints DIR"
        )
    Store(folder, spec.name).clear()
    return str(folder)


def _steady_state(job: JobSpec, folder: Path, mpi: mpirun.Mpi) -> float:
    """Run the job without faults and return its duration (s); it must pass all checks."""
    _, calm = launch_once(replace(job, events=[]), folder, mpi)
    if not calm.recovered:
        raise UsageError(
            f"a drill begins from a job that works; without any fault this one does not ({calm.reason}): see {folder}"
        )
    return calm.seconds
