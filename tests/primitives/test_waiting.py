"""Primitives wait and read clocks through the carrier only, so that any carrier of messages can bring its own time."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import primitives

MODULES = {"time", "wall_clock"}
NAMES = {"sleep", "monotonic", "perf_counter", "time_ns", "thread_time", "process_time", "sched_yield", "Backoff"}
FILES = sorted(Path(primitives.__file__).parent.rglob("*.py"))


def waits(source: str) -> set[str]:
    """The modules and functions of the wall clock that a program imports or names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name | ast.Attribute):
            found |= {node.id if isinstance(node, ast.Name) else node.attr} & NAMES
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found |= {name.rpartition(".")[2] for name in names} & (NAMES | MODULES)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_waits_by_itself(file: Path) -> None:
    allowed = {"wall_clock"} if file.name == "tuning.py" else set()  # which counts cores
    assert waits(file.read_text()) <= allowed


def test_the_search_finds_what_it_is_for() -> None:
    source = "import time\nfrom os import sched_yield\npause = Backoff(1)\ntime.sleep(1)"
    assert waits(source) == {"time", "sched_yield", "Backoff", "sleep"}
