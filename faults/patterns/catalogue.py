"""What can be drilled, seen from outside MPI: each pattern's policies, roles, data and oracle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.errors import UsageError
from faults import policies
from faults.drill.job_spec import JobSpec
from faults.drill.training import DATA, REDUCTIONS, save_digits
from faults.patterns import oracles
from faults.patterns.oracles import Finding, Verdicts
from faults.policies import Policy

RULES = ("mean", "median", "trimmed-mean", "geometric-median", "krum", "multi-krum")
"""Of `primitives.federated.robust`, which imports MPI's house and is therefore not asked here."""

_GRAPH_LOSSES = 3  # neighbours of a gossip's random graph that may be gone before a rank can be cut off


@dataclass(frozen=True)
class Blueprint:
    """A pattern that can be drilled.

    Attributes
    ----------
    policies
        The recovery policies it has, the natural one first.
    prepare
        Puts into the job's folder what the ranks need.
    matches
        The oracle: whether verdicts show the result that they should, and in words.
    roles
        Ranks of each role.
    vital
        Ranks that the policy cannot do without.
    needed
        Roles of which somebody must live.
    fewest
        Ranks with which it can go on.
    losses
        For random kills: the first rank that may die under a policy, and the most of so many ranks that may.
    lockstep
        In every step each rank hears from every other one, so that ranks need not agree on each step.
    options
        Names and defaults of what can be chosen.
    check
        Rejects options that contradict each other.
    oracle
        What the result is held against, in words.
    phases
        Named points of its algorithms, where a fault can strike.
    whose
        The role that comes to a named point, where it is not everybody's.
    detects_lies
        A rank that sends other values than it found is outvoted, or shows in the result.
    transfer
        Where within a step a rank is in the middle of sending or receiving what the option ``ballast`` makes long.
    """

    name: str
    summary: str
    policies: tuple[str, ...]
    steps: int
    prepare: Callable[[JobSpec, Path], None]
    matches: Callable[[JobSpec, Path, Verdicts], Finding]
    roles: Callable[[JobSpec], dict[str, Sequence[int]]] = lambda spec: {}
    vital: Callable[[JobSpec], Sequence[int]] = lambda spec: ()
    needed: tuple[str, ...] = ()
    fewest: int = 1
    losses: Callable[[Policy, int], tuple[int, int]] = lambda policy, ranks: (0, ranks - 2)
    lockstep: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    least_ranks: int = 2
    phases: tuple[str, ...] = ()
    whose: dict[str, str] = field(default_factory=dict)
    detects_lies: bool = False
    check: Callable[[JobSpec], None] = lambda job: None
    oracle: str = ""
    transfer: str = ""

    def points_under(self, policy: Policy, options: Mapping[str, Any]) -> tuple[str, ...]:
        """All named points of a job under that policy."""
        ordered = options.get("reduction") == "ordered"  # an all-gather without a reduction before it
        own = tuple(phase for phase in self.phases if not (ordered and phase == "reduce_scatter"))
        return (*own, *policy.points)


def _digits(spec: JobSpec, folder: Path) -> None:
    save_digits(folder / DATA)


def _nothing(spec: JobSpec, folder: Path) -> None:
    """The ranks need no file but the job file."""


def _service_roles(spec: JobSpec) -> dict[str, Sequence[int]]:
    servers = spec.policy.replicas
    return {"server": range(servers), "worker": range(servers, spec.ranks)}


def _check_rule(spec: JobSpec) -> None:
    """Reject more liars than a rule tolerates among that many clients."""
    rule, liars, clients = spec.options["rule"], spec.options["liars"], spec.ranks - 1
    if rule not in RULES:
        raise UsageError(f"a rule is one of {', '.join(RULES)}, got {rule!r}")
    from primitives.federated import robust  # it loads MPI, which a dry run does not need

    most = robust.most_liars(rule, clients)
    if liars > most:
        raise UsageError(f"{rule} bears at most {max(0, most)} liars among {clients} clients, got --liars {liars}")


CATALOGUE = {
    plan.name: plan
    for plan in (
        Blueprint(
            "ring",
            "data-parallel training over a ring all-reduce",
            ("shrink", "spare", "respawn", "restart"),
            40,
            _digits,
            oracles.same_training,
            options={
                "reduction": REDUCTIONS[0],
                "shards": 32,
                "ballast": 0,
                "declared_s": 0.0,
                "grip_s": 0.0,
                "own": 0,
                "agree": 0,
            },
            phases=("reduce_scatter", "all_gather"),
            transfer="phase all_gather + 2 ms",
            lockstep=True,
            oracle="the model is bit-equal to that of the fault-free run",
        ),
        Blueprint(
            "parameter-server",
            "training with parameter servers",
            ("continue", "replicate"),
            40,
            _digits,
            oracles.replayed_service,
            roles=_service_roles,
            vital=lambda spec: () if spec.policy.replicas > 1 else (0,),
            needed=("server", "worker"),
            options={"shards": 32, "ballast": 0},
            least_ranks=3,
            phases=("pull", "push", "apply"),
            transfer="phase push + 2 ms",
            losses=lambda policy, ranks: (policy.replicas, ranks - policy.replicas - 1),
            oracle="the model is bit-equal to a replay of the pushes that took effect, those of the living all of them",
            whose={"pull": "worker", "push": "worker", "apply": "server"},
        ),
        Blueprint(
            "gossip",
            "averaging with neighbours",
            ("continue",),
            320,
            _nothing,
            oracles.replayed_gossip,
            options={"ballast": 0},
            phases=("mix",),
            transfer="phase mix + 2 ms",
            losses=lambda policy, ranks: (0, min(_GRAPH_LOSSES, ranks - 2)),
            oracle="the survivors agree, on what a replay of the messages that arrived gives, bit by bit",
        ),
        Blueprint(
            "scatter-gather",
            "requests of many tasks, handed out by a coordinator",
            ("reexecute",),
            30,
            _nothing,
            oracles.same_answers,
            roles=lambda spec: {"coordinator": [0], "worker": range(1, spec.ranks)},
            options={"tasks": 64, "ballast": 0},
            least_ranks=3,
            fewest=2,
            oracle="every answer is right",
            transfer="+ 5 ms",
            phases=("scatter", "compute", "gather"),
            whose={"scatter": "coordinator", "compute": "worker", "gather": "coordinator"},
        ),
        Blueprint(
            "federated",
            "federated averaging",
            ("continue",),
            20,
            _digits,
            oracles.replayed_rounds,
            roles=lambda spec: {"server": [0], "worker": range(1, spec.ranks)},
            vital=lambda spec: [0],
            needed=("worker",),
            losses=lambda policy, ranks: (1, (ranks - 1) // 2),
            check=_check_rule,
            oracle="the model is bit-equal to a replay of the answers; with liars nearly as accurate as without",
            options={"rule": "mean", "liars": 0, "deadline_s": 2.0, "ballast": 0},
            transfer="+ 5 ms",
            phases=("broadcast", "train", "aggregate"),
            whose={"broadcast": "server", "train": "worker", "aggregate": "server"},
            detects_lies=True,
        ),
    )
}


def check_names(what: str, chosen: Iterable[str], legal: Collection[str]) -> None:
    """Refuse unknown names.

    Raises
    ------
    UsageError
        One that is not `legal`.
    """
    if wrong := next((name for name in chosen if name not in legal), None):
        raise UsageError(f"a {what} is one of {', '.join(dict.fromkeys(legal))}, got {wrong!r}")


def blueprint(pattern: str, policy: str | None = None) -> tuple[Blueprint, Policy]:
    """The pattern of that name and its policy; where none is named, the pattern's first.

    Raises
    ------
    UsageError
        No such pattern, or it does not have the policy.
    """
    pattern = pattern.replace("_", "-")  # the demos' spelling
    if pattern not in CATALOGUE:
        raise UsageError(f"a pattern is one of {', '.join(CATALOGUE)}, got {pattern!r}")
    found = CATALOGUE[pattern]
    if policy is not None and policy not in found.policies:
        raise UsageError(f"{pattern} recovers by {', '.join(found.policies)}, got {policy!r}")
    return found, policies.of(policy or found.policies[0])
