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
from faults import real_hosts, timeline
from faults.checkpoint import Store
from faults.detect import DETECTORS
from faults.job import CHECKPOINT, JobSpec
from faults.judge import Judgement, judge
from faults.patterns.catalogue import CATALOGUE, RULES, Blueprint, blueprint, most_liars
from faults.plan import Event, Fault, resolve
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
    real_hosts: bool = False
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
        plan = self.blueprint()
        phases = plan.phases_under(self.recovery)
        for fault in self.faults:
            if fault.when.phase is not None and fault.when.phase not in phases:
                raise UsageError(
                    f"fault {fault.text!r}: {self.pattern} by {self.recovery} has the phases "
                    f"{', '.join(phases) or 'none'}, got {fault.when.phase!r}"
                )
            if fault.kind == "lie" and "lie" not in plan.bears:
                liars = ", ".join(one.name for one in CATALOGUE.values() if "lie" in one.bears)
                raise UsageError(f"fault {fault.text!r}: nobody would notice a lie in {self.pattern}: choose {liars}")
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

    def _check_rule(self, spec: JobSpec) -> None:
        """Refuse more liars than a rule bears among that many clients."""
        if "rule" not in spec.options:
            return
        rule, liars = spec.options["rule"], spec.options["liars"]
        if rule not in RULES:
            raise UsageError(f"a rule is one of {', '.join(RULES)}, got {rule!r}")
        most = most_liars(rule, self.ranks - 1)
        if liars > most:
            raise UsageError(
                f"{rule} bears at most {max(0, most)} liars among {self.ranks - 1} clients, got --liars {liars}"
            )

    def _with_daemon(self, event: Event) -> Event:
        """A real host dies with its daemon."""
        fault = self.faults[int(event.ident.partition(".")[0])]
        if fault.kind != "kill" or not fault.target.hosts:
            return event
        if event.when.step is None or event.when.phase is not None or event.when.offset_s:
            raise UsageError(
                f"fault {fault.text!r}: a real host is lost at the beginning of a step: kill host 1 @ step 20"
            )
        return replace(event, daemon=True)

    def placement(self) -> list[int] | None:
        """Host of each rank at work and of each that waits: as said, else as the network has them."""
        if self.real_hosts:
            return real_hosts.placement(self.ranks)
        if self.hosts is not None or self.net is None:
            return self.hosts
        network = load(self.net).sized(self.ranks + self.spares)
        return [network.host_of(rank) for rank in range(self.ranks + self.spares)]

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
        if self.real_hosts and (self.recovery != "restart" or self.net is not None or self.hosts is not None):
            raise UsageError(
                "the loss of a real host's daemon ends the whole job: --real-hosts goes with --recovery restart, "
                "and without --net and --hosts"
            )
        spec = JobSpec(
            self.pattern, self.ranks, steps, self.recovery, self.spares, self.seed, plan.options | self.options,
            checkpoint=CHECKPOINT | self.checkpoint, detector=self._detector(),
            net=self.net, pace=self.pace, real_hosts=self.real_hosts,
        )  # fmt: skip
        self._check_kinds()
        self._check_rule(spec)
        spec.events = resolve(
            self.faults, self.ranks, spares=self.spares, steps=steps, hosts=self.placement(),
            roles=plan.roles(spec), seed=seed, refilled=self.recovery in ("spare", "respawn", "restart"),
        )  # fmt: skip
        if self.real_hosts:
            spec.events = [self._with_daemon(event) for event in spec.events]
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


def even_hosts(ranks: int, spares: int, hosts: int) -> list[int]:
    """Ranks in even blocks on so many hosts; spares, which come after them, wait on the first.

    Raises
    ------
    UsageError
        More hosts than ranks.
    """
    if hosts > ranks:
        raise UsageError(f"a host holds at least one rank, got --hosts {hosts} for {ranks} ranks")
    return [rank * hosts // ranks for rank in range(ranks)] + [0] * spares


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
    if order.real_hosts:
        real_hosts.check(mpi, order.ranks)
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
    if spec.policy == "restart" and spec.checkpoint["folder"]:
        spec.checkpoint = spec.checkpoint | {"folder": _own_checkpoints(spec, folder.name)}
    order.blueprint().prepare(spec, folder)
    return supervise(spec, folder, mpi, stall_s=order.stall_s, deadline_s=order.deadline_s, limit_s=order.limit_s)


def _own_checkpoints(spec: JobSpec, job: str) -> str:
    """A folder of this job's own within the chosen one, empty: a drill begins anew and checks what it wrote itself.

    Raises
    ------
    UsageError
        It cannot be written, or belongs to another job.
    """
    folder = Path(spec.checkpoint["folder"]) / job
    Store(folder, spec.name)
    shutil.rmtree(folder)
    return str(folder)


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
        "faults": [
            one | {"fired": all(j.fired[number]["fired"] for j in outcome.judgements)}
            for number, one in enumerate(first.fired)
        ],
        "outcome": "recovered" if outcome.recovered else "failed",
        "failed_at": None if failed is None else {"phase": failed.phase, "why": failed.reason},
        "phases": median_phases(outcome.judgements),
        "phases_spread": phase_spreads(outcome.judgements),
        "recovery_seconds": None if not seconds else spread.summary(seconds)["median"],
        "recovery_spread": None if not seconds else spread.summary(seconds),
        "lost_steps": max(j.lost_steps for j in outcome.judgements),
        "result_matches": all(j.checks["result"][0] for j in outcome.judgements),
        "checks": {name: {"ok": ok, "seen": text} for name, (ok, text) in (failed or first).checks.items()},
        "throughput": {when: of["median"] if of else None for when, of in throughput_spreads(outcome).items()},
        "throughput_spread": throughput_spreads(outcome),
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
    return {phase: of["median"] for phase, of in phase_spreads(judgements).items()}


def phase_spreads(judgements: list[Judgement]) -> dict[str, dict[str, Any]]:
    """Median and interval of each phase over the repeats."""
    measured = [j.phases for j in judgements if j.phases]
    if not measured:
        return {}
    return {phase: spread.summary([m[phase] for m in measured]) for phase in timeline.PHASES}


def throughput_spreads(outcome: Outcome) -> dict[str, dict[str, Any] | None]:
    """Median and interval of the steps per second before the first death and after the last recovery."""
    found: dict[str, dict[str, Any] | None] = {}
    for when in ("before", "after"):
        rates = [rate for j in outcome.judgements if (rate := j.throughput[when]) is not None]
        found[when] = spread.summary(rates) if rates else None
    return found
