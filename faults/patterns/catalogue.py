"""The patterns that can be drilled: the policies, roles, options and oracle of each; without MPI."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator import policies
from emulator.errors import Registry, UsageError
from emulator.policies import Policy
from faults.drill.job_spec import JobSpec
from faults.drill.request import Request
from faults.drill.training import REDUCTIONS
from faults.patterns import oracles
from faults.patterns.oracles import Finding, Results
from primitives.federated import rules

_GRAPH_LOSSES = 3  # deaths after which no rank of the random 4-regular graph is cut off yet


@dataclass(frozen=True)
class Pattern:
    """A pattern that can be drilled.

    Attributes
    ----------
    policies : its recovery policies, the default first
    matches : the oracle: whether what the ranks reported is the right result, and in words
    oracle : what the result is compared with, in words
    options : names and defaults of its options. The option ``program`` names the module whose ``run(spec, folder,
        tools)`` the ranks call; absent: the module of `faults.patterns` of the pattern's name.
    phases : named points of its algorithm at which a fault can strike, each with the role that comes there; empty:
        every rank does
    transfer : the point within a step at which a rank sends or receives the bytes of option ``ballast``
    trains : the ranks read the training data from the job's folder
    leader : the role of the first ranks, as many as the policy keeps replicas; all others are workers. Empty: no roles.
    needs_roles : it cannot go on without a rank of each role; a leader without a replica must not fail even for a time
    least_ranks, fewest : the fewest ranks with which it can begin, and go on after deaths
    losses : for random kills: the first rank that may die under a policy, and the most of so many ranks that may
    lockstep : in every step each rank receives from every other one, so that ranks need not agree after each step
    detects_lies : a rank that sends other values than it computed is outvoted, or shows in the result
    check : rejects options that contradict each other
    """

    name: str
    summary: str
    policies: tuple[str, ...]
    steps: int
    matches: Callable[[JobSpec, Path, Results], Finding]
    oracle: str
    options: dict[str, Any]
    phases: dict[str, str] = field(default_factory=dict)
    transfer: str = ""
    trains: bool = False
    leader: str = ""
    needs_roles: bool = False
    least_ranks: int = 2
    fewest: int = 1
    losses: Callable[[Policy, int], tuple[int, int]] = lambda policy, ranks: (0, ranks - 2)
    lockstep: bool = False
    detects_lies: bool = False
    check: Callable[[JobSpec], None] = lambda job: None

    def roles(self, job: JobSpec) -> dict[str, Sequence[int]]:
        """The ranks of each role."""
        leaders = job.policy.replicas
        return {self.leader: range(leaders), "worker": range(leaders, job.ranks)} if self.leader else {}

    def points_under(self, policy: Policy, options: Mapping[str, Any]) -> tuple[str, ...]:
        """All named points of a job under a policy."""
        own = REDUCTIONS[options["reduction"]].points if "reduction" in options else tuple(self.phases)
        return (*own, *policy.points)


def _check_rule(spec: JobSpec) -> None:
    """Reject more liars than a rule tolerates among that many clients."""
    rule, liars, clients = rules.of(spec.options["rule"]), spec.options["liars"], spec.ranks - 1
    most = max(0, rule.most_liars(clients))
    if liars > most:
        raise UsageError(f"{rule.name} tolerates at most {most} liars among {clients} clients, got --liars {liars}")


CATALOGUE = Registry(
    "a pattern",
    Pattern(
        "ring", "data-parallel training over a ring all-reduce", policies.of_pattern("ring"), 40,
        oracles.same_training, "the model is bit-equal to that of the fault-free run",
        options={"reduction": "exact", "shards": 32, "ballast": 0, "declared_s": 0.0, "grip_s": 0.0,
                 "own": 0, "agree": 0, "checksum": False},
        phases={"reduce_scatter": "", "all_gather": ""},
        transfer="phase all_gather + 2 ms",
        trains=True,
        lockstep=True,
    ),
    Pattern(
        "parameter-server", "training with parameter servers", policies.of_pattern("parameter-server"), 40,
        oracles.replayed_service,
        "the model is bit-equal to a replay of the pushes that took effect, among them all of the survivors'",
        options={"shards": 32, "ballast": 0},
        phases={"pull": "worker", "push": "worker", "apply": "server"},
        transfer="phase push + 2 ms",
        trains=True,
        leader="server",
        needs_roles=True,
        least_ranks=3,
        losses=lambda policy, ranks: (policy.replicas, ranks - policy.replicas - 1),
    ),
    Pattern(
        "gossip", "averaging with neighbours", policies.of_pattern("gossip"), 320,
        oracles.replayed_gossip,
        "the survivors agree, on what a replay of the messages that arrived gives, bit by bit",
        options={"ballast": 0},
        phases={"mix": ""},
        transfer="phase mix + 2 ms",
        losses=lambda policy, ranks: (0, min(_GRAPH_LOSSES, ranks - 2)),
    ),
    Pattern(
        "scatter-gather", "requests of many tasks, handed out by a coordinator",
        policies.of_pattern("scatter-gather"), 30,
        oracles.same_answers, "every answer is right",
        options={"tasks": 64, "ballast": 0},
        phases={"scatter": "coordinator", "compute": "worker", "gather": "coordinator"},
        transfer="+ 5 ms",
        leader="coordinator",
        least_ranks=3,
        fewest=2,
    ),
    Pattern(
        "federated", "federated averaging", policies.of_pattern("federated"), 20,
        oracles.replayed_rounds,
        "the model is bit-equal to a replay of the answers; with liars nearly as accurate as without",
        options={"rule": "mean", "liars": 0, "deadline_s": 2.0, "ballast": 0},
        phases={"broadcast": "server", "train": "worker", "aggregate": "server"},
        transfer="+ 5 ms",
        trains=True,
        leader="server",
        needs_roles=True,
        losses=lambda policy, ranks: (1, (ranks - 1) // 2),
        detects_lies=True,
        check=_check_rule,
    ),
)  # fmt: skip


def check_names(what: str, chosen: Iterable[str], legal: Collection[str]) -> None:
    """Reject unknown names.

    Raises
    ------
    UsageError
        One that is not `legal`.
    """
    if wrong := next((name for name in chosen if name not in legal), None):
        raise UsageError(f"a {what} is one of {', '.join(dict.fromkeys(legal))}, got {wrong!r}")


def of(request: Request) -> Pattern:
    """The pattern of a request or a job: `DRILL` of the module in its option ``program``, else the catalogue's.

    Raises
    ------
    UsageError
        No such pattern.
    """
    if (program := request.options.get("program")) is not None:
        found: Pattern = importlib.import_module(program).DRILL
        return found
    return CATALOGUE.of(request.pattern.replace("_", "-"))  # the demos' spelling
