"""The facts of a job and one design of it, in the form that pricing and planner use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.design.choices import HURRIES, PATTERNS, POLICIES, Pattern
from emulator.design.prices import network_terms
from emulator.design.sheets.sheet import SLOTS, Sheet
from emulator.design.sheets.tables import Job, State, Task, by_name
from emulator.errors import UsageError


def legal_policies(flows: Sequence[Flow]) -> list[str]:
    """The policies that a design with these flows can use.

    Every node takes part in a sum, so an all-reduce decides for the whole job; servers beside it may be replicated.
    """
    kinds = {flow.kind for flow in flows}
    deciding = {kind for kind in kinds if kind.sums} or kinds
    beside = any(kind.servers for kind in kinds)
    legal = {name for kind in deciding for name in kind.policies}
    return [name for name, policy in POLICIES.items() if name in legal or (beside and policy.replicas > 1)]


DISK = 1e9
"""Bytes per second of a node's disk, where no checkpoint cost is given."""


@dataclass(frozen=True)
class Flow:
    """How one state part or task is exchanged; see `emulator.design.sheets.tables.Communication`."""

    of: str
    pattern: str
    algorithm: str = "auto"
    servers: int = 0
    graph: str = "one-peer"
    every: int = 1
    compression: float = 1.0
    quorum: float = 1.0
    overlap: float = 0.0
    rule: str = "mean"

    @cached_property
    def kind(self) -> Pattern:
        """The pattern with its properties."""
        return PATTERNS[self.pattern]

    @property
    def beside(self) -> int:
        """Number of ranks that do not compute: servers, or the coordinator of requests and rounds."""
        return self.servers or int(self.kind.coordinator)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Design:
    """The six decisions. Fields have the names and values of the sheet's."""

    split: str
    flows: tuple[Flow, ...]
    replicated: tuple[str, ...] = ()
    parts: int | None = None
    by: str = "hash"
    model: str = "synchronous"
    bound: int = 0
    rounds: int = 1
    penalty: float | None = None
    control: str = "central"
    data: str = "decentralized"
    if_lost: str | None = "restart"
    policy: str = "restart"
    interval: float | None = None
    replicas: int = 0
    spares: int = 0
    sharding: str = "even"
    stragglers: str = "none"

    def but(self, **changes: Any) -> Design:
        """The design with some fields replaced, in a tenth of the time of `dataclasses.replace`."""
        made = object.__new__(Design)
        kept = vars(self) if "flows" not in changes else {name: vars(self)[name] for name in self.__dataclass_fields__}
        vars(made).update(kept | changes)
        return made

    @cached_property
    def servers(self) -> int:
        """Number of nodes besides the p that compute: one set serves all states."""
        return max((flow.servers for flow in self.flows), default=0)

    @cached_property
    def beside(self) -> int:
        """Number of ranks of a run that do not compute: `servers`, or a coordinator."""
        return max((flow.beside for flow in self.flows), default=0)

    @cached_property
    def kinds(self) -> frozenset[Pattern]:
        """The patterns of the flows."""
        return frozenset(flow.kind for flow in self.flows)

    @property
    def patterns(self) -> str:
        """The names of the flows' patterns."""
        return " and ".join(sorted(kind.name for kind in self.kinds))

    @property
    def asks(self) -> bool:
        """Whether all exchanges are requests and their answers."""
        return all(kind.requests for kind in self.kinds)

    @cached_property
    def holders(self) -> tuple[str, ...]:
        """The holder of each flow's part (for a task: what `holder` gives for a state of its name)."""
        return tuple(self._holder(flow) for flow in self.flows)

    @property
    def hurried(self) -> bool:
        """Whether the design acts against stragglers in a pattern that it uses."""
        if self.stragglers not in HURRIES:
            return self.stragglers != "none"
        return any(self.stragglers in kind.hurries for kind in self.kinds)

    @property
    def quorum(self) -> float:
        """Share of the nodes for which a step waits."""
        return (
            min(flow.quorum for flow in self.flows) if self.stragglers in ("quorum", "drop") and self.hurried else 1.0
        )

    @property
    def pulls(self) -> bool:
        """Whether free nodes take the next task, or one with which another node is late."""
        return self.sharding == "dynamic" or self.stragglers in ("stealing", "backup")

    def holder(self, state: State) -> str:
        """The holder of a state part: ``"every node"``, ``"servers"``, or ``"shards"`` of the nodes."""
        return self._holder(next(flow for flow in self.flows if flow.of == state.name))

    def _holder(self, flow: Flow) -> str:
        if flow.kind.servers:
            return "servers"
        if flow.of in self.replicated:
            return "every node"
        return "shards" if flow.kind.requests or self.split == "model" else "every node"

    def steps_between(self) -> int:
        """Steps of a node between two waits for others."""
        return (self.bound + 1) * self.rounds if self.model == "bounded" else self.rounds


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that the design does not decide.

    Attributes
    ----------
    alpha, beta, gamma : seconds per message, per byte sent, per byte reduced, between two nodes while no other sends
    origin : where the terms come from
    draws : rows of (alpha, beta, gamma) that the data allow as well; empty where no interval is known
    shared : cards and links that groups of nodes send through
    places : ranks that the network has room for
    crossed : the kind of a topology whose links messages cross, and meet on without a price; empty where there is none
    sharing : how cards serve messages that meet: "message" or "packet" (`emulator.costs.servers.SHARINGS`)
    protocol : whether messages take more than alpha + n beta (protocol, segments, slow start): what no formula has
    alike : whether all paths between nodes are equal
    slowdowns : how many times slower than declared the hosts of the first ranks compute; further ones are like them
    recovery, checkpoint : seconds, where they were measured or given; absent: the shipped medians
    """

    job: Job
    states: tuple[State, ...]
    tasks: tuple[Task, ...]
    alpha: float
    beta: float
    gamma: float = 0.0
    origin: str = "given"
    draws: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    shared: tuple[network_terms.Shared, ...] = ()
    places: float = math.inf
    crossed: str = ""
    sharing: str = "message"
    protocol: bool = False
    alike: bool = True
    slowdowns: tuple[float, ...] = (1.0,)
    recovery: float | None = None
    checkpoint: float | None = None

    @cached_property
    def equal(self) -> bool:
        """Whether all hosts compute at the same speed."""
        return max(self.slowdowns) == min(self.slowdowns)

    def nodes(self, p: int, beside: int) -> NDArray[np.float64]:
        """The slowdowns of p nodes, which follow `beside` ranks that do not compute."""
        return np.resize(np.roll(self.slowdowns, -beside), p)

    def slowdown(self, p: NDArray[np.int64], beside: int) -> Any:
        """The mean slowdown of the first p nodes, over an array of p."""
        return self.slowdowns[0] if self.equal else np.cumsum(self.nodes(p.max(), beside))[p - 1] / p

    def slowest(self, p: NDArray[np.int64], beside: int) -> Any:
        """The largest slowdown of the first p nodes, over an array of p."""
        return self.slowdowns[0] if self.equal else np.maximum.accumulate(self.nodes(p.max(), beside))[p - 1]

    @property
    def uniform(self) -> bool:
        """Whether the formulas are exact: equal hosts and paths, and nothing shared by nodes."""
        alone = not self.shared and not self.crossed and self.sharing == "message" and not self.protocol
        return self.alike and alone and self.equal

    @cached_property
    def parts(self) -> dict[str, State | Task]:
        """States and tasks by name."""
        return by_name(self.states, self.tasks)

    def scaled(self, alpha: float = 1.0, beta: float = 1.0, **job: Any) -> Facts:
        """The facts with alpha and beta multiplied (beta also of shared links), and some fields of the job replaced."""
        shared = tuple(replace(each, beta=each.beta * beta) for each in self.shared)
        return replace(self, alpha=self.alpha * alpha, beta=self.beta * beta, shared=shared,
                       job=self.job.model_copy(update=job) if job else self.job)  # fmt: skip


@contextmanager
def _about(sheet: Sheet, field: str) -> Iterator[None]:
    """Name the file and the field in errors about what they refer to."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{sheet.origin}: {field}: {error}") from None


def facts_of(sheet: Sheet, terms: Mapping[str, Any] | None = None) -> Facts:
    """The facts of a sheet; `terms` (alpha, beta, gamma, draws, origin) replace those of its network."""
    given = sheet.network
    sources = {"preset": given.preset, "file": given.file, "from": given.from_}
    with _about(sheet, ".".join(["network", *(name for name, value in sources.items() if value is not None)])):
        found = network_terms.of_table(given) if terms is None else dict(terms)
        if terms is not None or given.from_ is not None:
            found = network_terms.measured(found, given.ranks_per_host)
    with _about(sheet, "fault_tolerance.from"):
        recovery, checkpoint = _fault_costs(sheet)
    facts = Facts(sheet.job, sheet.state, sheet.task, recovery=recovery, checkpoint=checkpoint, **found)
    return facts if facts.places >= facts.job.most else facts.scaled(most=int(facts.places))


def facts_and_design(sheet: Sheet, terms: Mapping[str, Any] | None = None) -> tuple[Facts, Design]:
    """Facts and design of a complete sheet.

    Raises
    ------
    UsageError
        A slot is empty, or the nodes are more than can be had or than the network has places for.
    """
    facts, design = facts_of(sheet, terms), design_of(sheet)
    nodes = sheet.partition.nodes if sheet.partition else None
    if nodes and nodes + design.servers > facts.places:
        beside = f" and {design.servers} servers" if design.servers else ""
        raise UsageError(
            f"{sheet.origin}: partition.nodes: network {network_terms.network_name(sheet.network)} has places for "
            f"{facts.places:g} ranks, got {nodes} nodes{beside}: fewer nodes, more hosts, or network.ranks_per_host"
        )
    return facts, design


def _fault_costs(sheet: Sheet) -> tuple[float | None, float | None]:
    given = sheet.fault_tolerance
    if given is None:
        return None, None
    recovery = given.recovery
    if given.from_ is not None:
        from emulator import results

        drill = results.load(given.from_).get("drill")
        if not drill:
            raise UsageError(f"{given.from_}: this run is no drill: take one of python -m faults drill")
        recovery = drill["recovery_seconds"]
    return recovery, given.checkpoint


def design_of(sheet: Sheet) -> Design:
    """Convert the six slots of a sheet into a `Design`."""
    sheet.must_be_complete()
    said = {name: value for slot in SLOTS if slot != "communication" for name, value in getattr(sheet, slot)}
    flows = tuple(Flow(**{name: getattr(each, name) for name in Flow.__dataclass_fields__})
                  for each in sheet.communication)  # fmt: skip
    return Design(flows=flows, **{name: said[name] for name in Design.__dataclass_fields__ if name != "flows"})
