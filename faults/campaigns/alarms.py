"""Compare failure detectors: time to detection of real failures, false alarms in harmless situations.

    real       kill: a process is gone            hang: a process is stopped for good
    harmless   long computing, 8 ranks per core, late messages, a straggler, a pause shorter than the limit

Every pair of detector and situation is a drill of its own, in which the launcher kills a rank that is declared dead;
all have the same limit of silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emulator.core.wall_clock import cores
from emulator.launch import mpirun
from faults import detect
from faults.detect import DETECTORS
from faults.drill import drill
from faults.drill.request import Request
from faults.launch.supervise import need_ulfm
from faults.patterns.catalogue import check_names
from faults.plan.grammar import parse

_STEP_S = 0.01
_UNNOTICED_S = 4.0


@dataclass(frozen=True)
class Situation:
    """A job and what happens in it, to which a detector is put.

    Attributes
    ----------
    fault : the fault line, with ``{rank}`` for the victim and ``{pause}`` for half of the limit of silence
    real : a rank does fail, and must be detected
    grip, late : as multiples of the limit: how long a rank computes without a pause, and every message's latency
    crowded : with 8 ranks per core
    """

    about: str
    fault: str = ""
    real: bool = False
    steps: int = 40
    grip: float = 0.0
    crowded: bool = False
    late: float = 0.0


SITUATIONS = {
    "kill": Situation("a rank is killed", "kill {rank} @ step 6", real=True),
    "hang": Situation("a rank is stopped for good", "hang {rank} @ step 6", real=True),
    "compute": Situation(
        "every rank computes for twice the limit in one call that holds the interpreter", steps=2, grip=2.0
    ),
    "crowd": Situation("8 ranks on each core", crowded=True),
    "late": Situation("every message takes a quarter of the limit", steps=5, late=0.25),
    "straggler": Situation("a rank is 60 times slower than the others", "slow {rank} @ step 6 by 60", steps=12),
    "pause": Situation("a rank is stopped for half of the limit, then goes on", "hang {rank} @ step 6 for {pause}"),
}


@dataclass
class Detection:
    """What one detector found in one situation, as in the result file.

    Attributes
    ----------
    detection_seconds : from the instant of the fault to the first process that knew; None if none did in time
    false_alarms : live ranks that were declared dead
    wrong : what else failed in the job
    """

    detector: str
    situation: str
    limit_seconds: float
    detection_seconds: float | None = None
    false_alarms: list[int] = field(default_factory=list)
    wrong: str | None = None


def run(
    base: Request, folder: Path, detectors: Sequence[str] = (), situations: Sequence[str] = ()
) -> Iterator[Detection]:
    """Run a job for each detector in each situation.

    Parameters
    ----------
    base : ranks, limit of silence and seed of all jobs

    Raises
    ------
    UsageError
        An unknown name, or no ULFM.
    """
    check(detectors, situations)
    mpi = mpirun.find_mpi()
    need_ulfm(mpi, "shrink")
    for name in situations or SITUATIONS:
        for detector in detectors or DETECTORS:
            place = folder / f"{name}-{detector}"
            job = _job(base, SITUATIONS[name], detector, place)
            meant = {_victim(job)} if SITUATIONS[name].real else set()
            yield _drilled(job, place, mpi, meant, Detection(detector, name, float(job.limit_s or 0.0)))


def check(detectors: Sequence[str], situations: Sequence[str]) -> None:
    """Reject unknown names of detectors and situations."""
    check_names("detector", detectors, DETECTORS)
    check_names("situation", situations, SITUATIONS)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"


def _victim(job: Request) -> int:
    return job.ranks // 2


def _job(base: Request, situation: Situation, detector: str, folder: Path) -> Request:
    """The request of ring training that shrinks after a death, in that situation."""
    ranks = 8 * cores() if situation.crowded else base.ranks
    limit_s = base.limit_s or detect.limit_for(ranks)
    patience_s = 60.0 + 8 * limit_s * ranks  # a job is computing for most of it, on a machine that may have other work
    job = Request(
        "ring", ranks, recovery="shrink", steps=situation.steps, seed=base.seed, detector=detector, limit_s=limit_s,
        options={"grip_s": situation.grip * limit_s, "declared_s": _STEP_S * ranks},
        pace=1.0, stall_s=patience_s, deadline_s=2 * patience_s, trace=base.trace, trace_limit=base.trace_limit,
    )  # fmt: skip
    if situation.fault:
        job.faults = [situation.fault.format(rank=_victim(job), pause=_ms(limit_s / 2))]
    if situation.late:
        network = folder.with_suffix(".toml")
        network.parent.mkdir(parents=True, exist_ok=True)
        network.write_text(f'[link]\nlatency = "{_ms(situation.late * limit_s)}"\nbandwidth = "10 Gbit/s"\n')
        job.net = str(network)
    return job


def _drilled(job: Request, folder: Path, mpi: mpirun.Mpi, meant: set[int], found: Detection) -> Detection:
    """Fill in `found` from a drill; where no process detects the failure, the watchdog ends the job."""
    # The runtime never notices a stopped rank.
    unnoticed = bool(meant) and not DETECTORS[str(job.detector)].has_limit and parse(job.faults[0]).kind.silent
    if unnoticed:
        job.stall_s = _UNNOTICED_S
    finished, evaluation = drill.launch_once(job.spec(), folder, mpi)
    found.false_alarms = sorted({member for ending in finished.endings for member in ending.fenced} - meant)
    if evaluation.episodes and meant:
        found.detection_seconds = evaluation.episodes[0].phases["detect"]
    elif not evaluation.recovered and not unnoticed:
        found.wrong = f"{evaluation.phase}: {evaluation.reason}"
    return found
