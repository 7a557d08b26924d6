"""Only `faults.platform` asks the operating system for time, sleep and signals; all others are given theirs."""

import ast
from pathlib import Path

import pytest

import faults

ROOMS = ("agree", "recover", "detect", "checkpoint", "inject", "record", "launch", "drill", "patterns")
EXEMPT = {
    "patterns/work.py",  # of which `grip` burns CPU time of this machine and returns nothing
    "launch/rank_parent.py",  # a process of its own, which starts without any package and has real processes only
}
FORBIDDEN = {
    ("time", "sleep"), ("time", "monotonic"), ("time", "monotonic_ns"), ("time", "perf_counter"),
    ("time", "thread_time"),
    ("os", "kill"), ("os", "killpg"), ("os", "fork"), ("os", "sched_yield"), ("signal", "pthread_kill"),
}  # fmt: skip


def direct_calls(source: str) -> list[str]:
    """Uses of what is forbidden, under the module's name or imported from it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [(node.value.id, node.attr)]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        found += [f"line {node.lineno}: {module}.{name}" for module, name in names if (module, name) in FORBIDDEN]
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_asks_its_platform(room: str) -> None:
    folder = Path(faults.__file__).parent
    files = [path for path in (folder / room).glob("*.py") if str(path.relative_to(folder)) not in EXEMPT]
    assert files
    found = {path.name: calls for path in files if (calls := direct_calls(path.read_text()))}
    assert not found


def test_what_is_forbidden_is_found() -> None:
    assert direct_calls("import os\nfrom time import sleep\nos.kill(1, 9)") == ["line 2: time.sleep", "line 3: os.kill"]
