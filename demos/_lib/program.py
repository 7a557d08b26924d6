"""The contract of a sheet's program, checked without importing it, so that reading and pricing a sheet stay fast."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from emulator.design.sheets.sheet import Sheet, load
from emulator.errors import UsageError

PARTS = ("RANKS", "scaled", "data", "timed", "main")
"""What the module of a program defines; see `demos._lib.cases.case`."""


@dataclass(frozen=True)
class SheetRequest:
    """The sheet of a command: its file, the fields to replace, and a benchmark's text for alpha and beta."""

    path: str
    changes: tuple[str, ...] = ()
    benchmark: str | None = None

    @cached_property
    def sheet(self) -> Sheet:
        """The sheet with its changes; one without a valid program is refused."""
        return self.read(self.changes)

    @cached_property
    def terms(self) -> dict[str, Any] | None:
        """The terms fitted to the benchmark's text; None without one."""
        if self.benchmark is None:
            return None
        from emulator.measure import benchmark_text

        return benchmark_text.read(self.benchmark)

    def read(self, changes: tuple[str, ...] = ()) -> Sheet:
        """The sheet with these changes only."""
        found = load(self.path, changes)
        check_program(found, self.path)
        return found


def check_program(sheet: Sheet, path: str) -> None:
    """Refuse a sheet whose program does not fulfil the contract.

    Raises
    ------
    UsageError
        There is no such module, or its source does not define what `program_of` asks for.
    """
    if sheet.program is None:
        return
    legal = f"{path}: program must be a module with {', '.join(PARTS)}, got {sheet.program!r}: "
    try:
        spec = importlib.util.find_spec(sheet.program)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise UsageError(f"{legal}there is no such module in Python source: name one such as "
                         "'demos.cases.rag', or leave program out and run the design's skeleton")  # fmt: skip
    source = Path(spec.origin).read_text(encoding="utf-8")
    if missing := [name for name in PARTS if not re.search(rf"\b{name}\b", source)]:
        raise UsageError(f"{legal}it has no {', '.join(missing)}: define them as demos.cases.rag does")
