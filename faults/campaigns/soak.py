"""Kills at random instants, launch after launch, until so many have fired; nothing may ever hang, be wrong or be left.

Every launch (`faults.campaigns.random_trials`) is judged by a drill's own checks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.launch import mpirun
from faults.campaigns.random_trials import USUAL, Job, Trial, draw
from faults.drill.checks import Judgement
from faults.drill.drill import launch_once
from faults.drill.request import Request

_UNSURE = 0.05


@dataclass(frozen=True)
class Recovery:
    """One recovery of a soak: in which trial, of what, and how long it took."""

    trial: int
    pattern: str
    recovery: str
    seconds: float


@dataclass
class Tally:
    """What a soak has seen."""

    launches: int = 0
    kills: int = 0
    hangs: int = 0
    wrong: int = 0
    leftovers: int = 0
    failed: list[str] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.failed

    @property
    def bound(self) -> float:
        """Upper end of the 95 % interval of the failure rate per kill after a clean soak.

        The rate p at which n kills without a failure would be seen once in twenty times: (1 - p)^n = 0.05.
        """
        return 1.0 - _UNSURE ** (1.0 / self.kills) if self.kills else 1.0

    def to_json(self) -> dict[str, Any]:
        return {
            "launches": self.launches,
            "kills": self.kills,
            "hangs": self.hangs,
            "wrong": self.wrong,
            "leftovers": self.leftovers,
            "failed": self.failed,
            "failure_rate_below": self.bound if self.clean else None,
            "recoveries": [vars(one) for one in self.recoveries],
        }


def trials(kills: int, base: Request, chosen: Sequence[Job] = USUAL) -> Iterator[Trial]:
    """The trials of a soak in which every kill fires."""
    number = fired = 0
    while fired < kills:
        trial = draw(base, number, chosen)
        yield trial
        fired, number = fired + len(trial.request.faults), number + 1


def soak(
    kills: int,
    base: Request,
    folder: Path,
    chosen: Sequence[Job] = USUAL,
    seen: Callable[[Tally, int], None] = lambda tally, fired: None,
) -> Tally:
    """Run trials until `kills` have fired; the folders of failed ones are kept.

    Parameters
    ----------
    base
        What all trials share: the most ranks, the seed, the network, the ballast.
    chosen
        What is soaked, of `faults.campaigns.random_trials.jobs`.
    seen
        Called after each trial with the tally and the kills of that trial.
    """
    mpi = mpirun.find_mpi()
    tally = Tally()
    most_launches = 10 + 2 * kills
    while tally.kills < kills and tally.launches <= most_launches:
        trial = draw(base, tally.launches, chosen)
        place = folder / f"trial-{trial.number:05d}"
        spec = trial.request.spec()
        _, judgement = launch_once(spec, place, mpi)
        fired = sum(fault["fired"] for fault in judgement.fired)
        tally.launches += 1
        tally.kills += fired
        tally.recoveries += [
            Recovery(trial.number, spec.pattern, spec.recovery, episode.seconds) for episode in judgement.episodes
        ]
        if judgement.recovered:
            shutil.rmtree(place)
        else:
            _count(tally, trial, judgement)
        if tally.kills < kills and tally.launches > most_launches:
            tally.failed.append(f"only {tally.kills} kills fired in {tally.launches} launches")
        seen(tally, fired)
    return tally


def _count(tally: Tally, trial: Trial, judgement: Judgement) -> None:
    hung = not judgement.checks["verdict"][0]
    tally.hangs += hung
    tally.wrong += not hung and not judgement.checks["result"][0]
    tally.leftovers += not judgement.checks["leftovers"][0]
    tally.failed.append(f"{trial.text}: {judgement.phase}: {judgement.reason}")
