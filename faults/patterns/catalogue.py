"""What can be drilled, seen from outside MPI: each pattern's policies, roles, data and oracle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.errors import UsageError
from faults.drill.job_spec import JobSpec
from faults.drill.training import DATA, REDUCTIONS, save_digits
from faults.patterns import oracles
from faults.patterns.oracles import Finding, Verdicts

RULES = ("mean", "median", "trimmed-mean", "geometric-median", "krum", "multi-krum")
"""Of `primitives.federated.robust`, which imports MPI's house and is therefore not asked here."""
REPAIRED = {
    "shrink": ("agree", "rebuild", "shrink", "replay"),
    "spare": ("agree", "rebuild", "spare", "restore", "replay"),
    "respawn": ("agree", "rebuild", "respawn", "restore", "replay"),
    "reexecute": ("agree", "rebuild", "shrink", "replay"),
}
"""Named points of the policies that repair the job, where a fault can strike beside those of the algorithms. Nobody is
given the state where fewer ranks go on."""


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
    options
        Names and defaults of what can be chosen.
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
    options: dict[str, Any] = field(default_factory=dict)
    least_ranks: int = 2
    phases: tuple[str, ...] = ()
    whose: dict[str, str] = field(default_factory=dict)
    detects_lies: bool = False
    transfer: str = ""

    def phases_under(self, policy: str, options: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """All named points of a job under that policy."""
        ordered = (options or {}).get("reduction") == "ordered"  # an all-gather without a reduction before it
        own = tuple(phase for phase in self.phases if not (ordered and phase == "reduce_scatter"))
        return (*own, *REPAIRED.get(policy, ()))


def _digits(spec: JobSpec, folder: Path) -> None:
    save_digits(folder / DATA)


def _nothing(spec: JobSpec, folder: Path) -> None:
    """The ranks need nothing beside their orders."""


def _service_roles(spec: JobSpec) -> dict[str, Sequence[int]]:
    servers = spec.policy.replicas
    return {"server": range(servers), "worker": range(servers, spec.ranks)}


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


def most_liars(rule: str, clients: int) -> int:
    """Largest number of liars that a rule bears among so many clients."""
    from primitives.federated import robust  # it brings MPI's house along, which a dry run does not need

    return robust.most_liars(rule, clients)


def blueprint(pattern: str, policy: str) -> Blueprint:
    """The pattern of that name, which must have the policy.

    Raises
    ------
    UsageError
        No such pattern, or it does not have the policy.
    """
    if pattern not in CATALOGUE:
        raise UsageError(f"a pattern is one of {', '.join(CATALOGUE)}, got {pattern!r}")
    found = CATALOGUE[pattern]
    if policy not in found.policies:
        raise UsageError(f"{pattern} recovers by {', '.join(found.policies)}, got {policy!r}")
    return found
