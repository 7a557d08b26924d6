"""Views of a saved result: pure functions of the result file's content.

    for item in view(results.load("runs/ring/latest")): ...

Each command has its view in a module of its own: a function ``view(result)`` that gives tables, texts, verdicts, maps
and series (`emulator.report.model`). What a command prints while it runs and what ``python -m emulator report`` prints
of its file are the same items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from emulator.report.model import Item
from emulator.report.views import common

_MODULES = {
    name: f"emulator.report.views.{name}:view"
    for name in (
        "ring", "links", "incast", "gossip", "federated", "membership", "parameter_server", "scatter_gather", "compare",
        "speedup", "run", "design", "scale", "month", "program", "search",
    )
} | {
    f"cases.{name}": "emulator.report.views.case:view"
    for name in ("agentic", "federated", "rag", "recommendation", "swarm")
} | {
    "faults": "emulator.report.views.drill:view",
    "matrix": "emulator.report.views.campaigns:matrix",
    "alarms": "emulator.report.views.campaigns:alarms",
    "soak": "emulator.report.views.campaigns:soak",
    "trace": "emulator.report.views.campaigns:trace",
}  # fmt: skip
"""Where the view of a result is, by its ``demo``. Imported when it is asked for: no command needs all of them."""


def view(result: Mapping[str, Any]) -> Iterator[Item]:
    """The view of a result file's content, or of what is known so far of a growing one.

    Items that have been given once stay as they are and where they are, but for those of `common.closing`, which come
    when the run ends.
    """
    if result["demo"] == "speedup":  # it measures nothing, so there is no machine to tell of
        yield from body(result)
        return
    yield from common.opening(result)
    yield ""
    yield from body(result)
    yield from common.closing(result)


def finding(result: Mapping[str, Any]) -> str:
    """A sentence on what was found, by the function ``finding`` of the result's view module, if it has one.

    A view called otherwise, such as ``soak``, has its sentence in ``soak_finding``.
    """
    module, _, function = _where(result)
    name = "finding" if function == "view" else f"{function}_finding"
    told: str | None = getattr(import_module(module), name, common.finding)(result)
    return told or common.finding(result)


def _where(result: Mapping[str, Any]) -> tuple[str, str, str]:
    return _MODULES.get(result["demo"], "emulator.report.views.fits:unknown").partition(":")


def body(result: Mapping[str, Any]) -> Iterator[Item]:
    """The items of the result's own view, between the heading and the warnings."""
    module, _, function = _where(result)
    shown: Iterator[Item] = getattr(import_module(module), function)(result)
    yield from shown
