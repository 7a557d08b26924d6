"""Kill ranks at random instants, job after job: no job may hang, return a wrong result or leave a process.

Every job (`faults.campaigns.random_drills`) has to pass the checks of a drill.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.launch import mpirun
from faults.campaigns.random_drills import USUAL, Job, Trial, draw
from faults.drill.checks import Evaluation
from faults.drill.drill import launch_once
from faults.drill.request import Request

_UNSURE = 0.05


@dataclass
class Tally:
    """Counts over all jobs so far; `recoveries` lists trial, pattern, policy and duration of each."""

    launches: int = 0
    kills: int = 0
    hangs: int = 0
    wrong: int = 0
    leftovers: int = 0
    failed: list[str] = field(default_factory=list)
    recoveries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def bound(self) -> float:
        """Upper end of the 95 % interval of the failure rate per kill after a clean soak.

        The rate p at which n kills without a failure would be seen once in twenty times: (1 - p)^n = 0.05.
        """
        return 1.0 - _UNSURE ** (1.0 / self.kills) if self.kills else 1.0

    def to_json(self) -> dict[str, Any]:
        """The counts for the result file."""
        return vars(self) | {"failure_rate_below": None if self.failed else self.bound}


def trials(kills: int, base: Request, chosen: Sequence[Job] = USUAL) -> Iterator[Trial]:
    """Yield the trials that a soak runs if every kill fires, until they have `kills` kills."""
    number = fired = 0
    while fired < kills:
        trial = draw(base, number, chosen)
        yield trial
        fired, number = fired + len(trial.request.faults), number + 1


def place(number: int) -> str:
    """The folder of a trial."""
    return f"trial-{number:05d}"


def soak(
    kills: int,
    base: Request,
    folder: Path,
    chosen: Sequence[Job] = USUAL,
    seen: Callable[[Tally, int], None] = lambda tally, fired: None,
) -> Tally:
    """Run trials until `kills` have fired; the folders of failed ones are kept, and of traced ones.

    Parameters
    ----------
    base : what all trials share: the most ranks, the seed, the network, the ballast
    chosen : the pairs of pattern and policy, of `faults.campaigns.random_drills.jobs`
    seen : called after each trial with the tally and the kills of that trial
    """
    mpi = mpirun.find_mpi()
    tally = Tally()
    most_launches = 10 + 2 * kills
    while tally.kills < kills and tally.launches <= most_launches:
        trial = draw(base, tally.launches, chosen)
        trials_folder = folder / place(trial.number)
        _, evaluation = launch_once(trial.request.spec(), trials_folder, mpi)
        fired = _count(tally, trial, evaluation)
        if evaluation.recovered and not base.trace:
            shutil.rmtree(trials_folder)
        if tally.kills < kills and tally.launches > most_launches:
            tally.failed.append(f"only {tally.kills} kills fired in {tally.launches} launches")
        seen(tally, fired)
    return tally


def _count(tally: Tally, trial: Trial, evaluation: Evaluation) -> int:
    """Add a job to the tally and return how many of its kills fired."""
    fired = sum(fault["fired"] for fault in evaluation.fired)
    tally.launches += 1
    tally.kills += fired
    job = {"trial": trial.number, "pattern": trial.request.pattern, "recovery": trial.request.recovery}
    tally.recoveries += [job | {"seconds": episode.seconds} for episode in evaluation.episodes]
    if evaluation.recovered:
        return fired
    hung = not evaluation.checks["finished"][0]
    tally.hangs += hung
    tally.wrong += not hung and not evaluation.checks["result"][0]
    tally.leftovers += not evaluation.checks["leftovers"][0]
    tally.failed.append(f"{trial.text}: {evaluation.phase}: {evaluation.reason}")
    return fired
