"""One drill: steady state, injection, measurement, judgement, repeated; and its record in `result.json`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.measure import statistics
from emulator.report.drills import PHASES
from faults.checkpoint.store import MARK, Store
from faults.drill.checks import Judgement, judge
from faults.drill.job_spec import FILE, JobSpec
from faults.drill.request import Request
from faults.drill.timeline import Episode
from faults.launch import two_hosts
from faults.launch.supervise import Finished, need_ulfm, supervise
from faults.patterns.catalogue import CATALOGUE

_STEADY = "steady"


def _repeat(number: int) -> str:
    return f"repeat-{number:03d}"


@dataclass
class Outcome:
    """A drill's repeats, and the fault-free run of the same job."""

    job: JobSpec
    judgements: list[Judgement]
    fault_free_s: float
    drill_s: list[float]
    folders: list[Path]

    @property
    def recovered(self) -> bool:
        return all(j.recovered for j in self.judgements)


def run(
    request: Request, folder: Path, *, steady: bool = True, seen: Callable[[Outcome], None] | None = None
) -> Outcome:
    """Carry out a drill in `folder`.

    Parameters
    ----------
    steady
        Run the job without faults first: if that is not right, no recovery can be judged.
    seen
        Called after the fault-free job and after each repeat, with all that have been.

    Raises
    ------
    UsageError
        Bad input, no ULFM where it is needed, or a job that fails without any fault.
    """
    mpi = mpirun.find_mpi()
    job = check(request, folder, mpi)
    outcome = Outcome(job, [], _steady_state(job, folder / _STEADY, mpi) if steady else 0.0, [], [])
    if seen:
        seen(outcome)
    for repeat in range(request.repeat):
        place = folder / _repeat(repeat)
        finished, judgement = launch_once(request.spec(request.seed + repeat), place, mpi)
        outcome.judgements.append(judgement)
        outcome.drill_s.append(finished.ended - finished.began)
        outcome.folders.append(place)
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
    need_ulfm(mpi, spec.recovery)
    if spec.real_hosts:
        two_hosts.check(mpi, spec.ranks)
    for job in (_STEADY, *map(_repeat, range(request.repeat))):
        _check_free(folder / job)
        if spec.on_disk and spec.checkpoint["folder"]:
            _own_checkpoints(spec, job)
    return spec


def launch_once(spec: JobSpec, folder: Path, mpi: mpirun.Mpi) -> tuple[Finished, Judgement]:
    """Prepare a job's folder, run the job to its end, and check it."""
    _check_free(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if spec.checkpoint["folder"] and spec.on_disk:
        spec.checkpoint = spec.checkpoint | {"folder": _own_checkpoints(spec, folder.name)}
    CATALOGUE[spec.pattern].prepare(spec, folder)
    finished = supervise(spec, folder, mpi, stall_s=spec.stall_s, deadline_s=spec.deadline_s, limit_s=spec.limit_s)
    return finished, judge(finished)


def _check_free(folder: Path) -> None:
    """Refuse a job's folder that holds what no job has left there: it is emptied before the job begins."""
    if folder.exists() and not (folder / FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"a job's folder is empty or an earlier job's, {folder} holds something else: choose another with --out DIR"
        )


def _own_checkpoints(spec: JobSpec, job: str) -> str:
    """A folder of this job's own within the chosen one, empty: a drill begins anew and checks what it wrote itself.

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
    """Seconds of the fault-free run, which must be right."""
    finished, calm = launch_once(replace(job, events=[]), folder, mpi)
    if not calm.recovered:
        broken = next(f"{name}: {text}" for name, (ok, text) in calm.checks.items() if not ok)
        raise UsageError(
            f"a drill begins from a job that works; without any fault this one does not ({broken}): see {folder}"
        )
    return finished.ended - finished.began


def record(outcome: Outcome) -> dict[str, Any]:
    """The drill's part of the result file: the first repeat's figures, medians and intervals over all."""
    job, first = outcome.job, outcome.judgements[0]
    failed = next((j for j in outcome.judgements if not j.recovered), None)
    seconds = [j.recovery_seconds for j in outcome.judgements if j.recovery_seconds is not None]
    return {
        "pattern": job.pattern,
        "ranks": job.ranks,
        "spares": job.spares,
        "ranks_after": first.ranks_after,
        "recovery": job.recovery,
        "episodes": [_episode(episode, first.episodes[0].began) for episode in first.episodes],
        "detector": job.detector,
        "faults": [
            one | {"fired": all(j.fired[number]["fired"] for j in outcome.judgements)}
            for number, one in enumerate(first.fired)
        ],
        "outcome": "recovered" if outcome.recovered else "failed",
        "failed_at": None if failed is None else {"phase": failed.phase, "why": failed.reason},
        "phases": median_phases(outcome.judgements),
        "phases_spread": phase_spreads(outcome.judgements),
        "recovery_seconds": None if not seconds else statistics.summary(seconds)["median"],
        "recovery_spread": None if not seconds else statistics.summary(seconds),
        "lost_steps": max(j.lost_steps for j in outcome.judgements),
        "result_matches": all(j.checks["result"][0] for j in outcome.judgements),
        "checks": {name: {"ok": ok, "seen": text} for name, (ok, text) in (failed or first).checks.items()},
        "throughput": {when: of["median"] if of else None for when, of in throughput_spreads(outcome).items()},
        "throughput_spread": throughput_spreads(outcome),
        "overhead": {
            "fault_free_seconds": outcome.fault_free_s,
            "drill_seconds": statistics.summary(outcome.drill_s)["median"],
        },
        "repeats": [
            {
                "recovered": j.recovered,
                "recovery_seconds": j.recovery_seconds,
                "phases": j.phases,
                "lost_steps": j.lost_steps,
                "throughput": j.throughput,
                "seconds": drill_s,
            }
            for j, drill_s in zip(outcome.judgements, outcome.drill_s, strict=True)
        ],
    }


def _episode(episode: Episode, origin: float) -> dict[str, Any]:
    """One recovery; times in seconds since `origin`."""
    return {
        "deaths": [{"at": death.at - origin, "text": death.text, "place": death.place} for death in episode.deaths],
        "phases": episode.phases,
        "lost_steps": episode.lost_steps,
        "coordinator": episode.coordinator,
        "notes": episode.notes,
    }


def median_phases(judgements: list[Judgement]) -> dict[str, float]:
    """Of one repeat as they are; of several the medians, phase by phase."""
    return {phase: of["median"] for phase, of in phase_spreads(judgements).items()}


def phase_spreads(judgements: list[Judgement]) -> dict[str, dict[str, Any]]:
    """Median and interval of each phase over the repeats."""
    measured = [j.phases for j in judgements if j.phases]
    if not measured:
        return {}
    return {phase: statistics.summary([m[phase] for m in measured]) for phase in PHASES}


def throughput_spreads(outcome: Outcome) -> dict[str, dict[str, Any] | None]:
    """Median and interval of the steps per second before the first death and after the last recovery."""
    found: dict[str, dict[str, Any] | None] = {}
    for when in ("before", "after"):
        rates = [rate for j in outcome.judgements if (rate := j.throughput[when]) is not None]
        found[when] = statistics.summary(rates) if rates else None
    return found
