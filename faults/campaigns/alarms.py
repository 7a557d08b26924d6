"""How soon each failure detector finds a dead rank, and which live ranks it suspects wrongly.

    real       kill: a process is gone            hang: a process is stopped for good
    harmless   long computing, 8 ranks per core, late messages, a straggler, a pause shorter than the limit

Every detector meets every situation in a job of its own; all have the same limit of silence. The runtime, heartbeats
and phi-accrual are those of a drill, where whoever is given up is ended. SWIM has no helper but the other ranks, which
answer only between two steps; its verdicts are counted and nobody is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.core.wall_clock import cores
from emulator.launch import mpirun
from faults import detect
from faults.drill import drill, timeline
from faults.drill.job_spec import JobSpec
from faults.drill.request import Request
from faults.launch.supervise import Finished, need_ulfm, supervise
from faults.patterns.catalogue import check_names
from faults.plan import parse, resolve

SWIM, DETECTORS = detect.SWIM, detect.DETECTORS
RUNTIME = "runtime"
_STEP = 6
_STEP_S = 0.01
_UNNOTICED_S = 4.0


@dataclass(frozen=True)
class Situation:
    """What happens in a job, given the rank that it happens to and the limit of silence.

    Attributes
    ----------
    real
        Somebody does die, and is to be found.
    grip, late
        Of the limit: how long a rank computes without a pause, and every message's latency.
    crowded
        With 8 ranks per core.
    """

    about: str
    line: Callable[[int, float], str] | None = None
    real: bool = False
    steps: int = 40
    grip: float = 0.0
    crowded: bool = False
    late: float = 0.0


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"


SITUATIONS = {
    "kill": Situation("a rank is killed", lambda rank, limit: f"kill {rank} @ step {_STEP}", real=True),
    "hang": Situation("a rank is stopped for good", lambda rank, limit: f"hang {rank} @ step {_STEP}", real=True),
    "compute": Situation(
        "every rank computes for twice the limit in one call that holds the interpreter", steps=2, grip=2.0
    ),
    "crowd": Situation("8 ranks on each core", crowded=True),
    "late": Situation("every message takes a quarter of the limit", steps=5, late=0.25),
    "straggler": Situation(
        "a rank is 60 times slower than the others",
        lambda rank, limit: f"slow {rank} @ step {_STEP} by 60",
        steps=12,
    ),
    "pause": Situation(
        "a rank is stopped for half of the limit, then goes on",
        lambda rank, limit: f"hang {rank} @ step {_STEP} for {_ms(limit / 2)}",
    ),
}


@dataclass
class Sighting:
    """What one detector made of one situation.

    `detected_s` is from the instant of the fault to the first who knew, None if nobody did in time; `false` are the
    living ranks that were given up; `wrong` is what else was not right with the job.
    """

    detector: str
    situation: str
    limit_s: float
    detected_s: float | None = None
    false: list[int] = field(default_factory=list)
    wrong: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "detector": self.detector,
            "situation": self.situation,
            "limit_seconds": self.limit_s,
            "detection_seconds": self.detected_s,
            "false_alarms": self.false,
            "wrong": self.wrong or None,
        }


def run(
    base: Request, folder: Path, detectors: Sequence[str] = (), situations: Sequence[str] = ()
) -> Iterator[Sighting]:
    """Put the detectors into the situations, one job after the other.

    Parameters
    ----------
    base
        Ranks, limit of silence and seed of all jobs.

    Raises
    ------
    UsageError
        An unknown name, or no ULFM.
    """
    check(detectors, situations)
    mpi = mpirun.find_mpi()
    need_ulfm(mpi, "shrink")
    for name in situations or SITUATIONS:
        size = 8 * cores() if SITUATIONS[name].crowded else base.ranks
        for detector in detectors or DETECTORS:
            limit = base.limit_s or detect.limit_for(size)
            place = folder / f"{name}-{detector}"
            net = _network(place, SITUATIONS[name].late * limit)
            meet = _by_swim if detector == SWIM else _by_drill
            yield meet(name, detector, size, limit, base.seed, place, mpi, net)


def check(detectors: Sequence[str], situations: Sequence[str]) -> None:
    """Refuse unknown names."""
    check_names("detector", detectors, DETECTORS)
    check_names("situation", situations, SITUATIONS)


def _network(beside: Path, latency_s: float) -> str | None:
    """A network file beside the job's folder; None where messages are to go by the transport as it is."""
    if not latency_s:
        return None
    beside.parent.mkdir(parents=True, exist_ok=True)
    path = beside.with_suffix(".toml")
    path.write_text(f'[link]\nlatency = "{_ms(latency_s)}"\nbandwidth = "10 Gbit/s"\n')
    return str(path)


def _patience(limit_s: float, ranks: int) -> float:
    """Longest time without any progress: a job is computing for most of it, on a machine that may have other work."""
    return 60.0 + 8 * limit_s * ranks


def _by_drill(
    name: str, detector: str, ranks: int, limit_s: float, seed: int, folder: Path, mpi: mpirun.Mpi, net: str | None
) -> Sighting:
    """Ring training that would shrink; a job in which nobody finds out is ended by its watchdog."""
    situation = SITUATIONS[name]
    line = situation.line(ranks // 2, limit_s) if situation.line else None
    # The runtime never notices a stopped rank.
    unnoticed = situation.real and detector == RUNTIME and line is not None and parse(line).kind.silent
    spec = Request(
        "ring", ranks, [line] if line else [], "shrink", steps=situation.steps, seed=seed, detector=detector,
        options={"grip_s": situation.grip * limit_s, "declared_s": _STEP_S * ranks}, limit_s=limit_s,
        net=net, pace=1.0,
        stall_s=_UNNOTICED_S if unnoticed else _patience(limit_s, ranks), deadline_s=2 * _patience(limit_s, ranks),
    ).spec()  # fmt: skip
    finished, judgement = drill.launch_once(spec, folder, mpi)
    meant = {ranks // 2} if situation.real else set()
    fenced = {member for ending in finished.endings for member in ending.fenced}
    sighting = Sighting(detector, name, limit_s, false=sorted(fenced - meant))
    if judgement.episodes and situation.real:
        sighting.detected_s = judgement.episodes[0].phases["detect"]
    elif not judgement.recovered and not unnoticed:
        sighting.wrong = f"{judgement.phase}: {judgement.reason}"
    return sighting


def _by_swim(
    name: str, detector: str, ranks: int, limit_s: float, seed: int, folder: Path, mpi: mpirun.Mpi, net: str | None
) -> Sighting:
    """Ranks that do nothing but work and ask each other."""
    situation = SITUATIONS[name]
    steps = max(situation.steps, round(4 * limit_s / _STEP_S)) if situation.real else situation.steps
    line = situation.line(ranks // 2, limit_s) if situation.line else None
    if line and situation.real and parse(line).kind.silent:
        line = f"{line} for {_ms(3 * limit_s)}"  # nobody would end it: it wakes up when the others know
    spec = JobSpec(
        "membership", ranks, [line] if line else [], "continue", steps=steps, seed=seed,
        options={"limit_s": limit_s, "step_s": _STEP_S, "grip_s": situation.grip * limit_s},
        net=net, pace=1.0,
    )  # fmt: skip
    spec.events = resolve([parse(line)], ranks, steps=steps, seed=seed) if line else []
    folder.mkdir(parents=True, exist_ok=True)
    finished = supervise(spec, folder, mpi, stall_s=_patience(limit_s, ranks), deadline_s=2 * _patience(limit_s, ranks))
    return _judged(name, finished, limit_s, {ranks // 2} if situation.real else set())


def _judged(name: str, finished: Finished, limit_s: float, meant: set[int]) -> Sighting:
    """What the living members believe at the end."""
    sighting = Sighting(SWIM, name, limit_s)
    living = [verdict for verdict in finished.verdicts if verdict["place"] not in meant]
    if not living:
        sighting.wrong = f"no rank left a verdict: {finished.endings[-1].why}"
        return sighting
    found = [(int(rank), at) for verdict in living for rank, at in verdict["given_up"].items()]
    sighting.false = sorted({rank for rank, _ in found} - meant)
    fault = min(timeline.struck(finished.records).values(), default=None)
    seen = [at for rank, at in found if rank in meant]
    if seen and fault is not None:
        sighting.detected_s = min(seen) - fault
    return sighting
