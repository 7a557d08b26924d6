"""What a drill is asked to do, and the job that this means; what makes no sense is refused here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from emulator.errors import UsageError
from emulator.network import load
from faults.detect import DETECTORS, SWIM
from faults.drill.job_spec import CHECKPOINT, JobSpec
from faults.launch import two_hosts as real_hosts
from faults.patterns.catalogue import CATALOGUE, REPAIRED, RULES, Blueprint, blueprint, most_liars
from faults.plan import Event, Fault, When, consistency, resolve

OWN_BYTES = 1 << 16  # that each rank alone has where there are levels of checkpoints


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

    @property
    def on_disk(self) -> bool:
        """Whether the job writes checkpoints."""
        return self.recovery == "restart" or "disk" in self.checkpoint.get("levels", ())

    def _check_kinds(self) -> None:
        """Refuse faults that mean nothing to this job."""
        plan = self.blueprint()
        phases = plan.phases_under(self.recovery, self.options)
        for fault in self.faults:
            if fault.when.phase is not None and fault.when.phase not in phases:
                raise UsageError(
                    f"fault {fault.text!r}: {self.pattern} by {self.recovery} has the phases "
                    f"{', '.join(phases) or 'none'}, got {fault.when.phase!r}"
                )
            if fault.kind.falsifies and not plan.detects_lies:
                able = ", ".join(one.name for one in CATALOGUE.values() if one.detects_lies)
                raise UsageError(f"fault {fault.text!r}: nobody would notice a lie in {self.pattern}: choose {able}")
            if fault.kind.needs_checkpoints and not self.on_disk:
                raise UsageError(
                    f"fault {fault.text!r} meets checkpoints, which --recovery restart and --checkpoint memory,disk "
                    f"write, not {self.recovery}"
                )
            if fault.kind.needs_network and self.net is None:
                raise UsageError(f"fault {fault.text!r} meets an emulated network: choose one with --net")
            if fault.kind.needs_duration and fault.duration_s is None:
                kind = fault.kind.name
                raise UsageError(f"fault {fault.text!r}: a {kind} ends by itself, say when: {kind} ... for 200 ms")
            if fault.when.emulated_s is not None and self.net is None:
                raise UsageError(f"fault {fault.text!r}: emulated time passes on an emulated network: choose --net")
        if self.net is not None:
            check_network(self.net, self.ranks + self.spares, self.recovery)

    def _only_in_repair(self, spec: JobSpec, when: When) -> bool:
        """Whether a job without a death never comes there."""
        if when.phase != "agree":
            return when.recovery or when.phase in REPAIRED.get(self.recovery, ())
        every = spec.options.get("agree", 1)
        due = when.step is None or when.step == spec.steps - 1 or (every > 0 and (when.step + 1) % every == 0)
        return not due

    def _check_roles(self, spec: JobSpec) -> None:
        """Refuse a named point to which that rank never comes; after another's death it may have its role."""
        plan = self.blueprint()
        for event in spec.events:
            role = plan.whose.get(event.when.phase or "")
            heir = any(other.kind.final and other.rank != event.rank for other in spec.events)
            if role and not heir and event.rank not in plan.roles(spec)[role]:
                raise UsageError(
                    f"fault {event.text!r}: phase {event.when.phase} of {self.pattern} is the {role}'s, and rank "
                    f"{event.rank} is none: name one of {', '.join(map(str, plan.roles(spec)[role]))}, or {role!r}"
                )

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
        if not fault.kind.whole_host or not fault.target.hosts:
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
        if self.detector == SWIM and (self.pattern, self.recovery) not in (("ring", "shrink"), ("ring", "spare")):
            raise UsageError(
                f"--detector swim is for processes that a job begins and goes on with: ring by shrink or spare, got "
                f"{self.pattern} by {self.recovery}: choose heartbeat"
            )
        hangs = any(fault.kind.silent for fault in self.faults)
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
        if self.recovery != "spare" and self.spares:
            raise UsageError(
                f"ranks wait for --recovery spare only, got --spares {self.spares} with {self.recovery}: leave it out"
            )
        if self.ranks < plan.least_ranks:
            raise UsageError(f"{self.pattern} needs at least {plan.least_ranks} ranks, got {self.ranks}: give -n more")
        if self.real_hosts and (self.recovery != "restart" or self.net is not None or self.hosts is not None):
            raise UsageError(
                "the loss of a real host's daemon ends the whole job: --real-hosts goes with --recovery restart, "
                "and without --net and --hosts"
            )
        if self.checkpoint.get("levels") and (self.pattern != "ring" or self.recovery not in ("spare", "respawn")):
            raise UsageError(
                "levels of checkpoints are for what a rank alone has and another takes over: --checkpoint goes with "
                "ring and --recovery spare or respawn (restart keeps all on disk)"
            )
        if self.checkpoint.get("every") == 0 and self.checkpoint.get("mtbf_s") is None and self.recovery == "restart":
            raise UsageError(
                "--checkpoint-every 0 finds the interval from --mtbf, got none: give --mtbf '1 h', or a number of steps"
            )
        own = {"own": OWN_BYTES, "agree": 1} if self.checkpoint.get("levels") else {}
        if own and self.options.get("agree") == 0:
            raise UsageError("what a rank alone has is kept with each agreement: --agree-every 1 or more, got 0")
        spec = JobSpec(
            self.pattern, self.ranks, steps, self.recovery, self.spares, self.seed, plan.options | own | self.options,
            checkpoint=CHECKPOINT | self.checkpoint, detector=self._detector(),
            net=self.net, pace=self.pace, real_hosts=self.real_hosts,
        )  # fmt: skip
        self._check_kinds()
        self._check_rule(spec)
        spec.events = resolve(
            self.faults, self.ranks, spares=self.spares, steps=steps, hosts=self.placement(),
            roles=plan.roles(spec), seed=seed, refilled=self.recovery in ("spare", "respawn", "restart"),
        )  # fmt: skip
        consistency.check_recoveries(spec.events, lambda when: self._only_in_repair(spec, when))
        if self.real_hosts:
            spec.events = [self._with_daemon(event) for event in spec.events]
        self._check_roles(spec)
        for event in spec.events:
            if event.kind.ends and event.rank in plan.vital(spec):
                raise UsageError(
                    f"fault {event.text!r}: {self.pattern} by {self.recovery} cannot do without rank {event.rank}; "
                    f"it recovers by {', '.join(plan.policies)}"
                )
        self._check_needed(spec)
        return spec

    def _check_needed(self, spec: JobSpec) -> None:
        """Refuse a plan that ends everybody of a role without whom the pattern has no work left."""
        plan = self.blueprint()
        ended = {event.rank for event in spec.events if consistency.ends(event)}
        for role in plan.needed:
            ranks = set(plan.roles(spec)[role])
            if ranks <= ended:
                raise UsageError(
                    f"the plan ends every {role} of {self.pattern} (ranks {', '.join(map(str, sorted(ranks)))}), which "
                    f"by {self.recovery} needs one: spare one, or give -n more"
                )


def check_network(net: str, ranks: int, recovery: str) -> None:
    """Refuse an emulated network that so many ranks, spares included, cannot use, or that the policy cannot.

    Raises
    ------
    UsageError
        No such network, too few hosts in it, or a policy that starts processes.
    """
    load(net).sized(ranks)
    if recovery == "respawn":
        raise UsageError("a process cannot be spawned into an emulated network: choose spare, shrink or restart")


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
