"""Kills at random instants, launch after launch, until so many have fired; nothing may ever hang, be wrong or be left.

Every trial is drawn from (seed, number), so that a failed one can be run again by itself. A trial melts a job down: up
to all ranks but one die, at steps with microsecond offsets, at named points inside the all-reduce, in the agreement and
in the repair, and when a recovery begins; in jobs that agree after every step or every few, and in jobs that do not.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emulator import launch
from faults.drill import launch_once
from faults.judge import Judgement, judge
from faults.order import Order
from faults.plan import parse

_STEPS = 60
_MARGIN = 12  # steps at the end in which nothing begins, so that everything fires
_POINTS = ("reduce_scatter", "all_gather", "agree", "rebuild")


@dataclass(frozen=True)
class Trial:
    """One launch of a soak: ranks, spares, policy, steps between agreements (0: none before a death), fault lines."""

    number: int
    ranks: int
    spares: int
    recovery: str
    agree: int
    lines: tuple[str, ...]

    def order(self, seed: int) -> Order:
        return Order(
            "ring", self.ranks, [parse(line) for line in self.lines], self.recovery, self.spares, steps=_STEPS,
            seed=seed, options={"agree": self.agree}, stall_s=30.0, deadline_s=120.0,
        )  # fmt: skip


@dataclass
class Tally:
    """What a soak has seen."""

    launches: int = 0
    kills: int = 0
    hangs: int = 0
    wrong: int = 0
    leftovers: int = 0
    failed: list[str] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.failed

    @property
    def bound(self) -> float:
        """Upper end of the 95 % interval of the failure rate per kill after a clean soak (rule of three)."""
        return 3.0 / max(1, self.kills)


def draw(seed: int, number: int, most_ranks: int = 16) -> Trial:
    """The trial of that number."""
    dice = random.Random(f"soak/{seed}/{number}")
    ranks = dice.randint(min(6, most_ranks), most_ranks)
    recovery = dice.choice(("shrink", "shrink", "spare"))
    spares = dice.randint(1, 2) if recovery == "spare" else 0
    agree = dice.choice((0, 0, 1, 3))
    victims = dice.sample(range(ranks), dice.randint(ranks // 2, ranks - 1))
    lines = [_line(dice, rank, agree, may_collide=recovery != "spare") for rank in victims]
    if recovery == "spare":
        # The first to die, alone, is replaced for certain: its successor dies as well.
        lines[0] = f"kill {victims[0]} @ step 2"
        lines.append(f"kill {victims[0]} @ step {dice.randint(10, _STEPS - _MARGIN)}")
    return Trial(number, ranks, spares, recovery, agree, tuple(lines))


def _line(dice: random.Random, rank: int, agree: int, may_collide: bool) -> str:
    step = dice.randint(5, _STEPS - _MARGIN)
    offset = f"+ {dice.randint(1, 3000)} us"
    kind = dice.random() * (1.0 if may_collide else 0.85)
    if kind < 0.6:
        return f"kill {rank} @ step {step} {offset}"
    if kind < 0.85:
        # The agreement is at a known step only where there is one in every step.
        point = dice.choice(_POINTS[: 3 if agree == 1 else 2])
        return f"kill {rank} @ step {step} phase {point} + {dice.randint(0, 500)} us"
    if kind < 0.95:
        return f"kill {rank} @ recovery {offset}"
    return f"kill {rank} @ phase {_POINTS[3] if agree else dice.choice(_POINTS[2:])}"


def soak(
    kills: int, seed: int, folder: Path, *, most_ranks: int = 16, seen: Callable[[Tally, int], None] | None = None
) -> Tally:
    """Run trials until `kills` have fired; the folders of failed ones are kept.

    Parameters
    ----------
    seen
        Called after each trial with the tally and the kills of that trial.
    """
    mpi = launch.find_mpi()
    tally = Tally()
    while tally.kills < kills:
        trial = draw(seed, tally.launches, most_ranks)
        place = folder / f"trial-{trial.number:05d}"
        judgement = _run(trial, seed, place, mpi)
        fired = sum(fault["fired"] for fault in judgement.fired)
        tally.launches += 1
        tally.kills += fired
        tally.recoveries_s += [episode.seconds for episode in judgement.episodes]
        if judgement.recovered:
            shutil.rmtree(place)
        else:
            _count(tally, trial, judgement)
        if seen:
            seen(tally, fired)
        if tally.launches > 10 + 2 * kills:
            tally.failed.append(f"only {tally.kills} kills fired in {tally.launches} launches")
            break
    return tally


def _run(trial: Trial, seed: int, place: Path, mpi: launch.Mpi) -> Judgement:
    order = trial.order(seed)
    finished = launch_once(order, order.spec(seed), place, mpi)
    return judge(finished, lambda verdicts: order.blueprint().matches(finished.spec, finished.folder, verdicts))


def _count(tally: Tally, trial: Trial, judgement: Judgement) -> None:
    hung = not judgement.checks["verdict"][0]
    tally.hangs += hung
    tally.wrong += not hung and not judgement.checks["result"][0]
    tally.leftovers += not judgement.checks["leftovers"][0]
    tally.failed.append(
        f"trial {trial.number} ({trial.recovery}, {trial.ranks} ranks, agreements every {trial.agree}): "
        f"{judgement.phase}: {judgement.reason}"
    )
