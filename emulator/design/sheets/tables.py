"""The tables of a sheet: the job, states and tasks, the network, and the six slots."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from emulator.design.choices import PATTERNS, Pattern
from emulator.design.sheets.fields import (
    AllReduce,
    Beta,
    Bytes,
    Count,
    Most,
    Name,
    Number,
    PatternName,
    PolicyName,
    PositiveBytes,
    PositiveSeconds,
    Seconds,
    Shape,
    Share,
    Slot,
    Steps,
    Whole,
)  # fmt: skip
from emulator.errors import UsageError
from emulator.network.fields import Section

KEY_BYTES = 8  # of a row's key beside the row
NEAR = 0.01  # rounded sizes of a table may differ by this share


class Job(Section):
    """The job's facts: what is computed, on which nodes, and what it tolerates."""

    name: Name
    sentence: str = ""
    ceiling: Literal["data", "model", "throughput"] = "data"
    t_comp: PositiveSeconds
    steps: Count = 1000
    examples: Whole = 0
    example_bytes: Bytes = 0
    memory: PositiveBytes
    staleness: Steps = 0.0
    deadline: PositiveSeconds | None = None
    spread: Shape = 0.1
    sources: Literal["shared", "isolated"] = "shared"
    central: Literal["allowed", "none"] = "allowed"
    liars: Whole = 0
    mtbf: PositiveSeconds | None = None
    repair: Seconds = 3600.0
    most: Most = 1024


class State(Section):
    """A part of the state: dense layers, an embedding table, an index, positions."""

    name: Name
    bytes: Bytes
    copies: Number = 0.0
    update: Bytes | None = None
    activations: Bytes = 0
    rows: Whole = 0
    row_bytes: Bytes = 0
    touched: Whole = 0
    skew: Shape = 0.0

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if bool(self.rows) != bool(self.row_bytes):
            absent = "row_bytes" if self.rows else "rows"
            raise UsageError(f"rows and row_bytes belong together, got rows = {self.rows} and row_bytes = "
                             f"{self.row_bytes}: give {absent} as well, or neither")  # fmt: skip
        least = self.rows * self.row_bytes
        most = least + self.rows * KEY_BYTES  # a key beside each row
        if self.rows and not (1 - NEAR) * least <= self.bytes <= (1 + NEAR) * most:
            raise UsageError(f"rows x row_bytes must be bytes to {NEAR:.0%} (a key of {KEY_BYTES} bytes beside each "
                             f"row is legal), got {self.rows} x {self.row_bytes} = {least} with bytes = {self.bytes}: "
                             f'write bytes = "{least} B", or rows = {round(self.bytes / self.row_bytes)}')  # fmt: skip
        if self.touched > self.rows:
            raise UsageError(f"touched must be between 0 and rows = {self.rows}, got {self.touched}")
        if self.touched and not self.row_bytes:
            raise UsageError(f"touched rows need row_bytes, got {self.touched} rows of no bytes")
        return self

    @property
    def dense(self) -> int:
        """Bytes that a step exchanges where every node holds a replica."""
        return self.bytes if self.update is None else self.update

    @property
    def sparse(self) -> int:
        """Bytes of the rows that a node touches in a step, with their keys; `dense` for a state without rows."""
        return self.touched * (self.row_bytes + KEY_BYTES) if self.touched else self.dense


class Task(Section):
    """Work in tasks: requests to answer, or tasks of a step."""

    name: str = "task"
    count: Count = 1
    seconds: Seconds = 0.0
    request_bytes: Bytes = 0
    answer_bytes: Bytes = 0
    needs: tuple[str, ...] = ()


def by_name(states: tuple[State, ...], tasks: tuple[Task, ...]) -> dict[str, State | Task]:
    """Map names to states and tasks."""
    found: dict[str, State | Task] = {one.name: one for one in states}
    return found | {one.name: one for one in tasks}


class Network(Section):
    """The network between the nodes: a preset, a file, given terms, or the terms of a run."""

    preset: str | None = None
    file: str | None = None
    from_: str | None = Field(default=None, alias="from")
    latency: Seconds | None = None
    bandwidth: Beta | None = None
    gamma: Number = 0.0
    ranks_per_host: Count | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [self.preset, self.file, self.from_, None if self.latency is None else "latency"]
        if sum(one is not None for one in given) != 1 or (self.latency is None) != (self.bandwidth is None):
            raise UsageError("the network is one of preset, file, from, or latency and bandwidth together: give one")
        return self


class Partition(Slot):
    """Partition (slot 1): how data, model or work is split over the nodes."""

    split: Literal["data", "model", "work"]
    unit: str = ""
    parts: Count | None = None
    by: Literal["range", "hash", "consistent-hash", "tree", "given"] = "hash"
    replicated: tuple[str, ...] = ()
    nodes: Count | None = None


class Communication(Slot):
    """Communication (slot 2): the pattern that exchanges one state part or task."""

    pattern: PatternName
    of: str
    algorithm: AllReduce = "auto"
    servers: Whole = 0
    graph: Literal["one-peer", "ring", "torus", "exponential", "complete"] = "one-peer"
    every: Count = 1
    compression: Share = 1.0
    quorum: Share = 1.0
    overlap: Share = 0.0
    rule: Literal["mean", "median", "trimmed-mean", "krum"] = "mean"

    @property
    def kind(self) -> Pattern:
        """The pattern as an object with its properties."""
        return PATTERNS[self.pattern]

    @model_validator(mode="after")
    def _servers_serve(self) -> Self:
        if self.kind.servers and not self.servers:
            raise UsageError(f"a {self.pattern} has servers >= 1, got 0: say how many")
        if self.servers and not self.kind.servers:
            raise UsageError(f"servers belong to a parameter-server, got {self.servers} with {self.pattern}")
        for name in ("compression", "quorum"):
            if not getattr(self, name):
                raise UsageError(f"{name} must lie above 0 % and up to 100 %, got 0")
        return self


class Consistency(Slot):
    """Consistency (slot 3): how old the state may be that a node reads."""

    model: Literal["synchronous", "asynchronous", "bounded"]
    bound: Whole = 0
    rounds: Count = 1
    penalty: Number | None = None


class Coordination(Slot):
    """Coordination (slot 4): who controls the job, where its data are, and what follows if the controller is lost."""

    control: Literal["central", "decentralized"]
    data: Literal["central", "decentralized"]
    if_lost: Literal["restart", "elect", "standby", "nobody-needed"] | None = None


class FaultTolerance(Slot):
    """Fault tolerance (slot 5): the recovery policy, its replicas, spares and checkpoints."""

    policy: PolicyName
    interval: PositiveSeconds | None = None
    replicas: Whole = 0
    replicas_on: Literal["other-hosts", "same-host"] = "other-hosts"
    survive: Whole = 1
    spares: Whole = 0
    checkpoint: PositiveSeconds | None = None
    recovery: PositiveSeconds | None = None
    from_: str | None = Field(default=None, alias="from")


class LoadBalancing(Slot):
    """Load balancing (slot 6): how work is assigned, and what is done about stragglers."""

    sharding: Literal["even", "hash", "range", "dynamic"]
    stragglers: Literal["none", "backup", "quorum", "stealing", "drop"] = "none"
