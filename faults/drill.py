"""One drill: steady state, injection, measurement, judgement, repeated; and its record in `result.json`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emulator import launch, spread
from emulator.errors import UsageError
from emulator.network import load
from faults import timeline
from faults.detect import DETECTORS
from faults.job import CHECKPOINT, JobSpec
from faults.judge import Judgement, judge
from faults.patterns.catalogue import Blueprint, blueprint
from faults.plan import Fault, resolve
from faults.supervise import Finished, need_ulfm, supervise


@dataclass
class Order:
    """What to drill."""

    pattern: str
    ranks: int
    faults: list[Fault]
    recovery: str
    spares: int = 0
    steps: int | None = None
    seed: int = 0
    repeat: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    hosts: list[int] | None = None
    net: str | None = None
    pace: float | str = "none"
    detector: str | None = None
    limit_s: float | None = None
    stall_s: float = 20.0
    deadline_s: float = 120.0

    def blueprint(self) -> Blueprint:
        return blueprint(self.pattern, self.recovery)

    def _check_kinds(self) -> None:
        """Refuse faults that mean nothing to this job."""
        for fault in self.faults:
            if fault.kind in ("corrupt", "full") and self.recovery != "restart":
                raise UsageError(f"fault {fault.text!r} meets checkpoints, which only --recovery restart writes")
            if fault.kind in ("cut", "lose") and self.net is None:
                raise UsageError(f"fault {fault.text!r} meets an emulated network: choose one with --net")
            if fault.kind == "cut" and fault.duration_s is None:
                raise UsageError(f"fault {fault.text!r}: a cut heals by itself, say when: cut ... for 200 ms")
            if fault.when.emulated_s is not None and self.net is None:
                raise UsageError(f"fault {fault.text!r}: emulated time passes on an emulated network: choose --net")
        if self.net is not None:
            load(self.net).sized(self.ranks + self.spares)
        if self.net is not None and self.recovery == "respawn":
            raise UsageError("a process cannot be spawned into an emulated network: choose spare, shrink or restart")

    def _detector(self) -> str:
        """The one asked for; else heartbeats where somebody may hang, which the runtime would never notice."""
        if self.detector is not None and self.detector not in DETECTORS:
            raise UsageError(f"a detector is one of {', '.join(DETECTORS)}, got {self.detector!r}")
        hangs = any(fault.kind == "hang" for fault in self.faults)
        return self.detector or ("heartbeat" if hangs else "runtime")

    def spec(self, seed: int) -> JobSpec:
        """The job of one repeat.

        Raises
        ------
        UsageError
            Ranks, spares, options or faults that the pattern cannot do.
        """
        plan = self.blueprint()
        steps = self.steps or plan.steps
        for name in self.options:
            if name not in plan.options:
                raise UsageError(f"{self.pattern} has the options {', '.join(plan.options) or 'none'}, got {name!r}")
        if self.recovery == "spare" and self.spares < 1:
            raise UsageError(f"recovery by spare needs a rank that waits, got --spares {self.spares}: give --spares 1")
        if self.ranks < plan.least_ranks:
            raise UsageError(f"{self.pattern} needs at least {plan.least_ranks} ranks, got {self.ranks}: give -n more")
        spec = JobSpec(
            self.pattern, self.ranks, steps, self.recovery, self.spares, self.seed, plan.options | self.options,
            checkpoint=CHECKPOINT | self.checkpoint, detector=self._detector(),
            net=self.net, pace=self.pace,
        )  # fmt: skip
        self._check_kinds()
        spec.events = resolve(
            self.faults, self.ranks, spares=self.spares, steps=steps, hosts=self.hosts,
            roles=plan.roles(spec), seed=seed,
        )  # fmt: skip
        for event in spec.events:
            if event.kind in ("kill", "hang") and event.rank in plan.vital(spec):
                raise UsageError(
                    f"fault {event.text!r}: {self.pattern} by {self.recovery} cannot do without rank {event.rank}; "
                    f"it recovers by {', '.join(plan.policies)}"
                )
        return spec


@dataclass
class Outcome:
    """A drill's repeats, and the fault-free run of the same job."""

    order: Order
    judgements: list[Judgement]
    fault_free_s: float
    drill_s: list[float]
    folders: list[Path]

    @property
    def recovered(self) -> bool:
        return all(j.recovered for j in self.judgements)


def run(
    order: Order, folder: Path, *, steady: bool = True, seen: Callable[[int, Judgement], None] | None = None
) -> Outcome:
    """Carry out a drill in `folder`.

    Parameters
    ----------
    steady
        Run the job without faults first: if that is not right, no recovery can be judged.
    seen
        Called after each repeat.

    Raises
    ------
    UsageError
        Bad input, no ULFM where it is needed, or a job that fails without any fault.
    """
    mpi = launch.find_mpi()
    plan = order.blueprint()
    need_ulfm(mpi, order.recovery)
    order.spec(order.seed)  # refuse bad faults before anything is started
    fault_free_s = _steady_state(order, plan, folder / "steady", mpi) if steady else 0.0
    outcome = Outcome(order, [], fault_free_s, [], [])
    for repeat in range(order.repeat):
        place = folder / f"repeat-{repeat:03d}"
        finished = launch_once(order, order.spec(order.seed + repeat), place, mpi)
        judgement = judge(finished, lambda verdicts, f=finished: plan.matches(f.spec, f.folder, verdicts))  # type: ignore[misc]
        outcome.judgements.append(judgement)
        outcome.drill_s.append(finished.ended - finished.began)
        outcome.folders.append(place)
        if seen:
            seen(repeat, judgement)
    return outcome


def launch_once(order: Order, spec: JobSpec, folder: Path, mpi: launch.Mpi) -> Finished:
    """Prepare a job's folder and run it to its verdict."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    order.blueprint().prepare(spec, folder)
    return supervise(spec, folder, mpi, stall_s=order.stall_s, deadline_s=order.deadline_s, limit_s=order.limit_s)


def _steady_state(order: Order, plan: Blueprint, folder: Path, mpi: launch.Mpi) -> float:
    """Seconds of the fault-free run, which must be right."""
    spec = replace(order.spec(order.seed), events=[])
    finished = launch_once(order, spec, folder, mpi)
    calm = judge(finished, lambda verdicts: plan.matches(spec, finished.folder, verdicts))
    if not calm.recovered:
        broken = next(f"{name}: {text}" for name, (ok, text) in calm.checks.items() if not ok)
        raise UsageError(
            f"a drill begins from a job that works; without any fault this one does not ({broken}): see {folder}"
        )
    return finished.ended - finished.began


def record(outcome: Outcome) -> dict[str, Any]:
    """The drill's part of the result file: the first repeat's figures, medians and intervals over all."""
    order, first = outcome.order, outcome.judgements[0]
    failed = next((j for j in outcome.judgements if not j.recovered), None)
    seconds = [j.recovery_seconds for j in outcome.judgements if j.recovery_seconds is not None]
    return {
        "pattern": order.pattern,
        "ranks": order.ranks,
        "spares": order.spares,
        "ranks_after": first.ranks_after,
        "recovery": order.recovery,
        "detector": order.spec(order.seed).detector,
        "faults": first.fired,
        "outcome": "recovered" if outcome.recovered else "failed",
        "failed_at": None if failed is None else {"phase": failed.phase, "why": failed.reason},
        "phases": median_phases(outcome.judgements),
        "recovery_seconds": None if not seconds else spread.summary(seconds)["median"],
        "recovery_spread": None if not seconds else spread.summary(seconds),
        "lost_steps": max(j.lost_steps for j in outcome.judgements),
        "result_matches": all(j.checks["result"][0] for j in outcome.judgements),
        "checks": {name: {"ok": ok, "seen": text} for name, (ok, text) in (failed or first).checks.items()},
        "throughput": first.throughput,
        "overhead": {
            "fault_free_seconds": outcome.fault_free_s,
            "drill_seconds": spread.summary(outcome.drill_s)["median"],
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


def median_phases(judgements: list[Judgement]) -> dict[str, float]:
    """Of one repeat as they are; of several the medians, phase by phase."""
    measured = [j.phases for j in judgements if j.phases]
    if not measured:
        return {}
    return {phase: spread.summary([m[phase] for m in measured])["median"] for phase in timeline.PHASES}
