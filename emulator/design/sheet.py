"""The sheet as data: one model per table of the TOML file, and how a file becomes one.

An error is one line with file, field, value and what is legal. A design that is legal but bad is no error: `review`
finds what is wrong with it.
"""

from __future__ import annotations

import difflib
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from emulator.design.fields import (
    Beta,
    Bytes,
    Count,
    Number,
    PositiveBytes,
    PositiveSeconds,
    Seconds,
    Shape,
    Share,
    Slot,
    Steps,
    Table,
    Whole,
)  # fmt: skip
from emulator.errors import UsageError, read_text
from emulator.network.files import first_error

SLOTS = ("partition", "communication", "consistency", "coordination", "fault_tolerance", "load_balancing")


class Job(Table):
    """Facts: what is to be computed, on which nodes, and what it tolerates."""

    name: Annotated[str, Field(min_length=1)]
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
    most: Annotated[int, Field(ge=1, le=16384, strict=True)] = 1024


class State(Table):
    """A part of what is kept: dense layers, an embedding table, an index, positions."""

    name: Annotated[str, Field(min_length=1)]
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
        if self.rows * self.row_bytes > self.bytes:
            raise UsageError(f"rows x row_bytes must fit in bytes, got {self.rows} x {self.row_bytes} > {self.bytes}")
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
        """Bytes of the rows that a node touches in a step, with an 8-byte key each; `dense` without rows."""
        return self.touched * (self.row_bytes + 8) if self.touched else self.dense


class Task(Table):
    """Work by task: requests that are answered, or tasks of a step."""

    name: str = "task"
    count: Count = 1
    seconds: Seconds = 0.0
    request_bytes: Bytes = 0
    answer_bytes: Bytes = 0
    needs: tuple[str, ...] = ()


def by_name(states: tuple[State, ...], tasks: tuple[Task, ...]) -> dict[str, State | Task]:
    """States and tasks in one mapping."""
    found: dict[str, State | Task] = {one.name: one for one in states}
    return found | {one.name: one for one in tasks}


class Network(Table):
    """Between the nodes: a preset, a file, own terms, or the terms of a run."""

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
    """Slot 1."""

    split: Literal["data", "model", "work"]
    unit: str = ""
    parts: Count | None = None
    by: Literal["range", "hash", "consistent-hash", "tree", "given"] = "hash"
    replicated: tuple[str, ...] = ()
    nodes: Count | None = None


class Communication(Slot):
    """Slot 2, once for every state part or task."""

    pattern: Literal["all-reduce", "parameter-server", "gossip", "scatter-gather", "federated"]
    of: str
    algorithm: Literal["auto", "ring", "recursive_doubling", "rabenseifner", "tree", "k_ary_tree"] = "auto"
    servers: Whole = 0
    graph: Literal["one-peer", "ring", "torus", "exponential", "complete"] = "one-peer"
    every: Count = 1
    compression: Share = 1.0
    quorum: Share = 1.0
    overlap: Share = 0.0
    rule: Literal["mean", "median", "trimmed-mean", "krum"] = "mean"

    @model_validator(mode="after")
    def _servers_serve(self) -> Self:
        if self.pattern == "parameter-server" and not self.servers:
            raise UsageError("a parameter-server has servers >= 1, got 0: say how many")
        if self.pattern != "parameter-server" and self.servers:
            raise UsageError(f"servers belong to a parameter-server, got {self.servers} with {self.pattern}")
        for name in ("compression", "quorum"):
            if not getattr(self, name):
                raise UsageError(f"{name} must lie above 0 % and up to 100 %, got 0")
        return self


class Consistency(Slot):
    """Slot 3."""

    model: Literal["synchronous", "asynchronous", "bounded"]
    bound: Whole = 0
    rounds: Count = 1
    penalty: Number | None = None


class Coordination(Slot):
    """Slot 4."""

    control: Literal["central", "decentralized"]
    data: Literal["central", "decentralized"]
    if_lost: Literal["restart", "elect", "standby", "nobody-needed"] | None = None


class FaultTolerance(Slot):
    """Slot 5."""

    policy: Literal["restart", "shrink", "spare", "respawn", "replicate", "reexecute", "continue"]
    interval: PositiveSeconds | None = None
    replicas: Whole = 0
    replicas_on: Literal["other-hosts", "same-host"] = "other-hosts"
    survive: Whole = 1
    spares: Whole = 0
    checkpoint: PositiveSeconds | None = None
    recovery: PositiveSeconds | None = None
    from_: str | None = Field(default=None, alias="from")


class LoadBalancing(Slot):
    """Slot 6."""

    sharding: Literal["even", "hash", "range", "dynamic"]
    stragglers: Literal["none", "backup", "quorum", "stealing", "drop"] = "none"


class Sheet(Table):
    """A whole sheet; the six slots may be missing where only `plan` reads it."""

    program: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")] | None = None
    job: Job
    state: tuple[State, ...] = ()
    task: tuple[Task, ...] = ()
    network: Network
    partition: Partition | None = None
    communication: tuple[Communication, ...] = ()
    consistency: Consistency | None = None
    coordination: Coordination | None = None
    fault_tolerance: FaultTolerance | None = None
    load_balancing: LoadBalancing | None = None
    _origin: str = PrivateAttr("sheet")

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        if not self.state and not self.task:
            raise UsageError("a sheet has at least one [[state]] or [[task]], got none")
        names = list(self.parts)
        if len(names) < len(self.state) + len(self.task):
            raise UsageError(f"names of states and tasks must differ, got {', '.join(names)} more than once")
        used = [("communication.of", one.of) for one in self.communication]
        used += [("partition.replicated", name) for name in (self.partition.replicated if self.partition else ())]
        used += [("task.needs", name) for task in self.task for name in task.needs]
        for field, name in used:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise UsageError(f"{field} must name a state or task, got {name!r}: {hint}Legal: {', '.join(names)}")
        exchanged = [one.of for one in self.communication]
        if twice := sorted({name for name in exchanged if exchanged.count(name) > 1}):
            more = ", ".join(twice)
            raise UsageError(f"communication.of names every state and task once, got {more} more than once: leave one")
        if missing := [name for name in names if self.communication and name not in {c.of for c in self.communication}]:
            raise UsageError(f"every state and task needs a [[communication]], got none of {', '.join(missing)}")
        return self

    @property
    def origin(self) -> str:
        """The file that it was read from, for messages."""
        return self._origin

    @property
    def complete(self) -> bool:
        """Whether all six slots are filled."""
        return all(getattr(self, slot) for slot in SLOTS)

    def must_be_complete(self) -> None:
        """Refuse a sheet with an empty slot, or with more nodes than can be had."""
        if empty := [slot for slot in SLOTS if not getattr(self, slot)]:
            missing = ", ".join(empty)
            raise UsageError(f"{self.origin}: all six slots must be filled, {missing} is missing: let plan fill it in")
        nodes, most = self.partition.nodes if self.partition else None, self.job.most
        if nodes and nodes > most:
            raise UsageError(f"{self.origin}: partition.nodes must be at most job.most = {most}, got {nodes}")

    @cached_property
    def parts(self) -> dict[str, State | Task]:
        """States and tasks by name."""
        return by_name(self.state, self.task)


def parse(text: str, origin: str = "sheet", changes: tuple[str, ...] = ()) -> Sheet:
    """Read the text of a sheet; `changes` such as ``consistency.model=synchronous`` replace fields."""
    try:
        values = tomllib.loads(text)
        for change in changes:
            _change(values, change)
        sheet = Sheet.model_validate(values)
        sheet._origin = origin
        return sheet
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{origin}: {first_error(error.errors())}") from None
    except UsageError as error:
        raise UsageError(f"{origin}: {error}") from None


def load(path: str | Path, changes: tuple[str, ...] = ()) -> Sheet:
    """Read a sheet from a file."""
    return parse(read_text(Path(path), f"sheet {str(path)!r}"), str(path), changes)


def _change(values: dict[str, Any], change: str) -> None:
    """Set one field: TABLE.FIELD=VALUE, or TABLE.NAME.FIELD=VALUE in a table that there are several of."""
    where, equals, text = change.partition("=")
    table, *path = where.strip().split(".")
    if not equals or not path or len(path) > 2:
        raise UsageError(f"a change is TABLE.FIELD=VALUE, got {change!r}: write e.g. consistency.model=synchronous")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    target: Any = values.setdefault(table, {})
    if isinstance(target, list):
        key = "of" if table == "communication" else "name"
        chosen = [one for one in target if len(path) == 1 or one.get(key) == path[0]]
        if not chosen:
            names = ", ".join(str(one.get(key)) for one in target)
            raise UsageError(f"--change {change!r}: {table} has no {path[0]!r}. Legal: {names}")
    else:
        chosen = [target]
    for one in chosen:
        one[path[-1]] = value
