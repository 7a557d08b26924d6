"""Run one failure trace under every policy: goodput against the mean time between failures.

The gaps of a trace are drawn once, exponential with mean 1, and stretched by each MTBF; its victims are distinct
places, one fewer than there are ranks. A policy thus meets the same deaths at the same instants of the same work.

    goodput = ranks x fault-free seconds of the work / (processes x seconds that it took)

so that spares count as well. The work is declared: a step sleeps as if every rank had a core of its own,
and a job that goes on with fewer ranks takes longer by what they would have done.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

from emulator import policies
from emulator.costs import checkpoints as interval
from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.drill import drill
from faults.drill.request import Request
from faults.drill.timeline import Record, completed
from faults.launch.supervise import need_ulfm
from faults.patterns.catalogue import CATALOGUE, check_names
from faults.plan.kinds import KINDS
from faults.plan.model import Event, When
from faults.record.journal import What

PATTERN = "ring"
POLICIES = CATALOGUE[PATTERN].policies
MULTIPLES = (1 / 4, 1 / 2, 1.0, 2.0, 4.0)
"""Checkpoint intervals that are tried, as multiples of Young's."""
_WITHIN = 0.9  # of the fault-free time: a first failure later than that may never happen


@dataclass(frozen=True)
class Setting:
    """The work and the failure trace that all policies share."""

    ranks: int = 8
    spares: int = 2
    work_s: float = 5.0
    step_s: float = 0.01
    seed: int = 0

    @property
    def steps(self) -> int:
        return max(10, round(self.work_s / self.step_s))

    def failures(self, mtbf_s: float) -> list[Event]:
        """The deaths at that MTBF; none if the first may come after the end of the work."""
        draw = random.Random(f"gaps/{self.seed}")
        victims = random.Random(f"victims/{self.seed}").sample(range(self.ranks), self.ranks - 1)
        text = f"kill random @ rate {1 / mtbf_s:g}/s"
        events, at = [], 0.0
        for number, rank in enumerate(victims):
            at += draw.expovariate(1.0) * mtbf_s
            events.append(Event(f"0.{number}", text, KINDS["kill"], rank, When(time_s=at), rated=True))
        return events if events[0].when.time_s < _WITHIN * self.work_s else []  # type: ignore[operator]


@dataclass(frozen=True)
class Run:
    """The result of one policy under one trace; `every` is the checkpoint interval in steps, where one was given."""

    policy: str
    mtbf_s: float | None
    goodput: float
    seconds: float
    failures: int
    redone_steps: int
    saving_s: float
    checkpoint_s: float | None
    every: int | None = None
    wrong: str = ""


def run(
    setting: Setting, policy: str, mtbf_s: float | None, folder: Path, mpi: mpirun.Mpi, every: int | None = None
) -> Run:
    """Run one job; without an MTBF no rank dies."""
    spares = setting.spares if policies.of(policy).has_spares else 0
    spec = Request(
        PATTERN, setting.ranks, (), policy, spares, steps=setting.steps, seed=setting.seed,
        options={"declared_s": setting.step_s * setting.ranks},
        # Without failures one checkpoint, the last, is enough.
        checkpoint={"every": every or (setting.steps if mtbf_s is None else 0), "mtbf_s": mtbf_s},
        deadline_s=60.0 + 40 * setting.work_s, stall_s=30.0,
    ).spec()  # fmt: skip
    spec.events = setting.failures(mtbf_s) if mtbf_s is not None else []
    finished, evaluation = drill.launch_once(spec, folder, mpi)
    seconds = _seconds(finished.records, spec.world)
    saved = [r["cost"] for r in finished.records if r["what"] == What.SAVED and r["member"] == 0]
    return Run(
        policy,
        mtbf_s,
        setting.ranks * setting.steps * setting.step_s / ((setting.ranks + spares) * seconds),
        seconds,
        sum(len(episode.deaths) for episode in evaluation.episodes),
        redone(finished.records, setting.steps),
        sum(saved),
        median(saved) if saved else None,
        every,
        "" if evaluation.recovered else f"{evaluation.phase}: {evaluation.reason}",
    )


def _seconds(records: Sequence[Record], world: int) -> float:
    """Seconds from the start of the first launch's last rank to the end of the last step; NaN if no step was done."""
    begun = [r["at"] for r in records if r["what"] == What.STARTED and r["attempt"] == 0 and r["member"] < world]
    done = [completed(r) for r in records if r["what"] == What.COMMIT]
    return max(done) - max(begun) if begun and done else math.nan


def redone(records: Sequence[Record], steps: int) -> int:
    """Number of steps committed more than once, because the job resumed from an older checkpoint."""
    done = {(r["attempt"], r["step"]) for r in records if r["what"] == What.COMMIT}
    return max(0, len(done) - steps)


def compare(setting: Setting, policies: Sequence[str], mtbfs: Sequence[float], folder: Path) -> Iterator[Run]:
    """Run every policy without failures and at every MTBF.

    Raises
    ------
    UsageError
        An unknown policy, an MTBF that is not above 0 or longer than the work, or no ULFM.
    """
    check(setting, policies, mtbfs)
    mpi = mpirun.find_mpi()
    for policy in policies:
        need_ulfm(mpi, policy)
        for mtbf in (None, *mtbfs):
            yield run(setting, policy, mtbf, folder / f"{policy}-{'none' if mtbf is None else f'{mtbf:g}s'}", mpi)


def check(setting: Setting, policies: Sequence[str], mtbfs: Sequence[float]) -> None:
    """Reject an unknown policy, and an MTBF at which the job may see no failure."""
    check_names(f"policy of {PATTERN}", policies, POLICIES)
    short = next((mtbf for mtbf in mtbfs if not mtbf > 0), None)
    if short is not None:
        raise UsageError(f"an MTBF is above 0 s, got {short:g}")
    late = next((mtbf for mtbf in mtbfs if not setting.failures(mtbf)), None)
    if late is not None:
        raise UsageError(
            f"with seed {setting.seed} no rank dies within {setting.work_s:g} s at an MTBF of {late:g} s: "
            f"give more --work, a shorter MTBF or another --seed"
        )


# -- the checkpoint interval ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Intervals:
    """Checkpoint intervals at one MTBF, as in the result file: those of Young and Daly, and jobs with others."""

    mtbf_seconds: float
    checkpoint_seconds: float
    young_steps: int
    daly_steps: int
    tried: list[dict[str, Any]]

    def add(self, one: Run, step_s: float) -> None:
        """Add a job, with the seconds lost to checkpoints and to steps done again."""
        self.tried.append(vars(one) | {"lost_seconds": one.saving_s + one.redone_steps * step_s})

    def to_json(self) -> dict[str, Any]:
        """The fields for the result file, and the best interval of those tried."""
        return vars(self) | {"best_steps": min(self.tried, key=itemgetter("lost_seconds"))["every"]}


def intervals(
    setting: Setting, mtbf_s: float, cost_s: float, folder: Path, seen: Callable[[Intervals], None] = lambda found: None
) -> Intervals:
    """Run the job under restart with intervals from a quarter of Young's to four times it.

    Parameters
    ----------
    seen : called after each job with what has been tried
    """
    mpi = mpirun.find_mpi()
    young = interval.in_steps(interval.young(cost_s, mtbf_s), setting.step_s)
    daly = interval.in_steps(interval.daly(cost_s, mtbf_s), setting.step_s)
    found = Intervals(mtbf_s, cost_s, young, daly, [])
    for every in sorted({max(1, round(young * multiple)) for multiple in MULTIPLES}):
        found.add(run(setting, "restart", mtbf_s, folder / f"every-{every}", mpi, every), setting.step_s)
        seen(found)
    return found


# -- crossovers ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crossover:
    """An MTBF at which two policies' goodput is equal: `rare` is better above `mtbf_s`, `frequent` below."""

    rare: str
    frequent: str
    mtbf_s: float


def crossovers(runs: Sequence[Run]) -> list[Crossover]:
    """Find the MTBFs at which two policies' goodput is equal, by interpolation on the logarithm of the MTBF."""
    curves: dict[str, dict[float, float]] = {}
    for one in runs:
        if one.mtbf_s is not None and not one.wrong:
            curves.setdefault(one.policy, {})[one.mtbf_s] = one.goodput
    found = []
    for first, second in combinations(curves, 2):
        both = sorted(curves[first].keys() & curves[second].keys())
        ahead = [curves[first][mtbf] - curves[second][mtbf] for mtbf in both]
        for (low, a), (high, b) in pairwise(zip(both, ahead, strict=True)):
            if a * b < 0:
                at = math.exp(math.log(low) + math.log(high / low) * a / (a - b))
                found.append(Crossover(*((first, second) if b > 0 else (second, first)), at))
    return found
