"""The sheet as data: all of its tables, and how they are read from a file.

An error is one line with file, field, value and what is legal. A design that is legal but bad is no error: `review`
finds what is wrong with it.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import PrivateAttr, TypeAdapter, ValidationError, model_validator

from emulator.design.sheets.fields import Module
from emulator.design.sheets.tables import (
    Communication,
    Consistency,
    Coordination,
    FaultTolerance,
    Job,
    LoadBalancing,
    Network,
    Partition,
    State,
    Task,
    by_name,
)  # fmt: skip
from emulator.errors import UsageError, read_text
from emulator.network.fields import Section
from emulator.network.files import first_error

SLOTS = ("partition", "communication", "consistency", "coordination", "fault_tolerance", "load_balancing")
_KEYS = {"state": "name", "task": "name", "communication": "of"}
"""The tables that there are several of, and the field that names one of them, as `--change` does."""


class Sheet(Section):
    """A whole sheet; the six slots may be missing if only `plan` reads it."""

    holds: ClassVar[str] = "table"

    program: Module | None = None
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
        """The file from which it was read, for messages."""
        return self._origin

    @property
    def complete(self) -> bool:
        """Whether all six slots are filled."""
        return all(getattr(self, slot) for slot in SLOTS)

    def must_be_complete(self) -> None:
        """Refuse a sheet with an empty slot, or with more nodes than are available."""
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
        _beside(values, origin)
        sheet = Sheet.model_validate(values)
        sheet._origin = origin
        return sheet
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{origin}: {_named(_first(error.errors()), values)}") from None
    except UsageError as error:
        raise UsageError(f"{origin}: {error}") from None


def _beside(values: dict[str, Any], origin: str) -> None:
    """Take the network's file in the sheet's folder, if there is one."""
    network = values.get("network")
    if isinstance(network, dict) and isinstance(file := network.get("file"), str):
        beside = Path(origin).parent / file
        if beside.is_file():
            plain = os.path.normpath(beside)  # another file where a folder before .. is a symbolic link
            network["file"] = plain if Path(plain).exists() and beside.samefile(plain) else str(beside)


def _first(errors: list[Any]) -> str:
    """Describe the first of pydantic's errors; for a missing field with its legal values."""
    message, where = first_error(errors), errors[0]["loc"]
    if errors[0]["type"] != "missing":
        return message
    table = Sheet.model_fields[where[0]]
    kinds = [one for one in (*get_args(table.annotation), table.annotation) if isinstance(one, type)]
    kind = next(one for one in kinds if issubclass(one, Section))
    if len(where) == 1:
        needed = [name for name, one in kind.model_fields.items() if one.is_required()]
        return f"{message}: a table [{where[0]}]" + (f" with {', '.join(needed)}" if needed else "")
    field = kind.model_fields[where[-1]]
    try:
        whole: Any = Annotated[field.annotation, "", *field.metadata]
        TypeAdapter(whole).validate_python(None)
    except ValidationError as error:
        return f"{message}; it {first_error(error.errors()).strip().removesuffix(', got None')}"
    except UsageError as error:
        return f"{message}; it {str(error).removesuffix(', got None')}"
    return message


def _named(message: str, values: dict[str, Any]) -> str:
    """Replace the number of a state, task or communication in a message by its name."""

    def name(found: re.Match[str]) -> str:
        table, number = found[1], int(found[2])
        called = values[table][number].get(_KEYS[table]) if isinstance(values[table][number], dict) else None
        return f"{table}.{called}" if isinstance(called, str) and called else f"{table} number {number + 1}"

    return re.sub(rf"^({'|'.join(_KEYS)})\[(\d+)\]", name, message)


def load(path: str | Path, changes: tuple[str, ...] = ()) -> Sheet:
    """Read a sheet from a file."""
    return parse(read_text(Path(path), f"sheet {str(path)!r}"), str(path), changes)


def _change(values: dict[str, Any], change: str) -> None:
    """Set one field: TABLE.FIELD=VALUE, or TABLE.NAME.FIELD=VALUE in a repeated table."""
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
        key = _KEYS.get(table, "name")
        tables = [one for one in target if isinstance(one, dict)]
        chosen = [one for one in tables if len(path) == 1 or one.get(key) == path[0]]
        if not chosen:
            names = ", ".join(str(one.get(key)) for one in tables)
            raise UsageError(f"--change {change!r}: {table} has no {path[0]!r}. Legal: {names}")
    elif isinstance(target, dict) and len(path) == 1:
        chosen = [target]
    else:
        what = "a value of its own" if not isinstance(target, dict) else "one table"
        raise UsageError(f"--change {change!r}: {table} is {what}, and a change of it is TABLE.FIELD=VALUE or an edit "
                         "of the sheet")  # fmt: skip
    for one in chosen:
        one[path[-1]] = value
