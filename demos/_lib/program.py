"""The contract of a program behind a sheet, checked without importing it: reading and pricing a sheet stays quick."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from emulator.design.sheets.sheet import Sheet
from emulator.errors import UsageError

PARTS = ("RANKS", "scaled", "data", "timed", "main")
"""What the module of a program defines; see `demos._lib.cases.case`."""


def check_program(sheet: Sheet, path: str) -> None:
    """Refuse a sheet whose program is none.

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
