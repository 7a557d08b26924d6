"""State belongs to a communicator, a job or a run: simulated ranks share one process, and so would share a module's.

What a module may change of its own is listed here, with what makes it one per process whatever runs in it.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("emulator", "primitives", "faults", "demos")
ALLOWED = {
    ("emulator/carrier.py", "_by_handle"),  # MPI's own attributes by its handles, of which a process has one each
    ("emulator/core/wall_clock.py", "_sharpened"),  # the kernel's timer slack
    ("emulator/launch/streams.py", "_lost"),  # standard output
    (
        "emulator/sim/programs/blocking.py",
        "_active",
    ),  # what the interpreter's audit hook, of which there is one, looks at
    ("emulator/sim/collectives/phantom.py", "_ranges"),  # reserved addresses
    ("emulator/comm/buffers.py", "_ARRAY"),  # the types of numpy, once the process has loaded it
    ("emulator/comm/buffers.py", "_NATIVE"),
    ("emulator/wire/threads.py", "_first"),  # the threads of a program over real processes
    ("emulator/wire/threads.py", "_watching"),
    ("faults/record/stack_dump.py", "_open"),  # files that a signal's handler of the process writes to
    ("faults/launch/live.py", "_screen"),  # a context variable of the command
}
CHANGES = {
    "append", "extend", "add", "update", "clear", "pop", "popleft", "popitem", "setdefault", "remove", "discard",
    "insert", "set",
}  # fmt: skip


def preorder(node: ast.AST, into: list[ast.AST], last: dict[ast.AST, int]) -> None:
    """List a node with all below it in the order of the text, and where the list of each one ends; not the contexts."""
    into.append(node)
    for name in node._fields:
        if name != "ctx":
            value = getattr(node, name)
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.AST):
                    preorder(child, into, last)
    last[node] = len(into)


def changed(tree: ast.Module) -> set[str]:
    """The names of a module that its functions change: rebind, fill, empty or count on."""
    top = [one for one in tree.body if not isinstance(one, ast.FunctionDef | ast.ClassDef)]
    names = [node for one in top for node in ast.walk(one) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    found: set[str] = set()
    nodes: list[ast.AST] = []
    last: dict[ast.AST, int] = {}
    preorder(tree, nodes, last)
    for place, function in enumerate(nodes):
        if not isinstance(function, ast.FunctionDef):
            continue
        inside = nodes[place : last[function]]
        outer = {name for node in inside if isinstance(node, ast.Global) for name in node.names}
        local = {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)} - outer
        local |= {node.arg for node in inside if isinstance(node, ast.arg)}
        for node in inside:
            target: ast.AST | None = None
            if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
                target = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
                target = node.func.value
            elif (
                isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name) and node.func.id == "next"
            ):
                target = node.args[0]
            while isinstance(target, ast.Subscript | ast.Attribute):
                target = target.value
            if isinstance(target, ast.Name) and target.id in own - local:
                found.add(target.id)
        found |= outer
    return found


def cached_methods(tree: ast.Module) -> list[str]:
    """Methods whose results `functools` keeps, with their objects, for as long as the process lives."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return [f"{cls.name}.{one.name}" for cls in classes for one in cls.body if isinstance(one, ast.FunctionDef)
            for decorator in one.decorator_list
            if ast.unparse(decorator).partition("(")[0].rpartition(".")[2] in ("cache", "lru_cache")]  # fmt: skip


def test_modules_keep_no_state() -> None:
    found, methods = set(), []
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        source = path.read_text()
        tree = ast.parse(source)
        found |= {(path.relative_to(ROOT).as_posix(), name) for name in changed(tree)}
        methods += cached_methods(tree) if "cache" in source else []
    assert found == ALLOWED
    assert methods == []


def test_the_search_finds_what_it_is_for() -> None:
    source = (
        "a = {}\nb = []\nc = count()\nd = 0\ne = {}\nf = X()\ng = 1\n"
        "def one():\n    global d\n    a[1] = 2\n    b.append(3)\n    next(c)\n    f.x.y = 1\n    g = 2\n"
        "def two(e):\n    e[1] = 2\n"
        "class C:\n    @functools.lru_cache(maxsize=1)\n    def method(self): ...\n"
    )
    tree = ast.parse(source)
    assert changed(tree) == {"a", "b", "c", "d", "f"}
    assert cached_methods(tree) == ["C.method"]
