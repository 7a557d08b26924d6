"""The report of one or several runs as one HTML page: self-contained, without a network.

A view's items become figures, tables and paragraphs (`render`); `write` puts the page into a file, such as
``report.html`` in the run folder.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from emulator.errors import CannotWrite, write_all
from emulator.report import terminal, views
from emulator.report.model import Detail, Drawing, Item, Map, Scenario, Series, Table, Text, Verdict
from emulator.report.page import coefficients
from emulator.report.page.chart import key
from emulator.report.page.figures import bounded, figures
from emulator.report.page.scenarios import answer
from emulator.report.views import common, several, timeline
from emulator.results import RESULT, plain
from emulator.results.files import replacing
from emulator.trace import diagram

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PAGE", "keep", "render", "where", "write"]

PAGE = "report.html"
_HERE = Path(__file__).parent


def write(path: str | Path, results: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page of these results.

    Raises
    ------
    CannotWrite
        The file cannot be written.
    """
    path, text = Path(path), render(results)
    with replacing(path) as waiting:
        waiting.write_text(text, encoding="utf-8")
    return path


def keep(
    folder: Path, result: Mapping[str, Any], console: Console | None = None, unwritten: CannotWrite | None = None
) -> CannotWrite | None:
    """Write the page of a result into its run folder, and print on the console where it is.

    Parameters
    ----------
    unwritten : why the result itself could not be saved; then there is no page either

    Returns
    -------
    CannotWrite or None
        What could not be written.
    """
    unwritten = unwritten or write_all(lambda: write(folder / PAGE, [plain(result)]))
    if console is not None and unwritten is None:
        terminal.show([where(folder)], console)
    return unwritten


def where(folder: Path) -> Text:
    """The last line of a run: where its files are."""
    return Text(f"page: {folder / PAGE} ({RESULT} beside it)", "dim")


def render(results: Sequence[Mapping[str, Any]]) -> str:
    """The HTML text of the page of these results."""
    from markupsafe import Markup

    runs = [_run(result, name) for result, name in zip(results, several.named(results), strict=True)]
    title = " · ".join(run.title for run in runs)
    beside = [*several.view(results)] if len(runs) > 1 else []
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    if any(run.diagram for run in runs):
        style, script = style + diagram.STYLE, script + diagram.SCRIPT
    return _templates().get_template("page.html.j2").render(
        title=title, runs=runs, style=Markup(style), script=Markup(script), shapes=Markup(_SHAPES),
        beside=[item for item in beside if not _pictured(item)], overlays=list(figures(beside)),
    )  # fmt: skip


def _run(result: Mapping[str, Any], name: str) -> SimpleNamespace:
    """The template's data of one result."""
    items = [item.item if isinstance(item, Detail) else item for item in views.body(result)]
    return SimpleNamespace(
        title=name,
        found=views.finding(result),
        facts=_facts(result),
        figures=list(figures(items)),
        diagram=_diagram(result),
        timeline=[_lined(item) for item in timeline.view(result["timeline"])] if result.get("timeline") else [],
        items=[_lined(item) for item in items if not _pictured(item)],
        warnings=list(result.get("warnings") or ()),
        failures=list(result.get("failures") or ()),
        fidelity=[_lined(item) for item in common.fidelity(result["fidelity"], result["clock"])]
        if result.get("fidelity")
        else [],
        environment=_environment(result),
        command=shlex.join(result["command"]),
        started=result["started"],
    )


def _diagram(result: Mapping[str, Any]) -> str:
    """The time-space diagram of a traced run; "" for others."""
    shown = (result.get("timeline") or {}).get("diagram")
    return diagram.fragment(json.loads(shown)) if shown else ""


def _lined(item: Item) -> Item:
    if isinstance(item, Table):
        return bounded(item)
    return Text(item) if isinstance(item, str) else item


def _pictured(item: Item) -> bool:
    return isinstance(item, Series | Scenario | Drawing) or (isinstance(item, Map) and item.scale is not None)


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    seen, network = result["environment"], result.get("network")
    if common.only_priced(result):
        one = result["prediction"]
        return [("nodes", str(one["p"])), ("clock", "priced"), ("network", one["origin"].removeprefix("network "))]
    if result.get("month"):  # of a job that no machine has run
        return [("nodes", f"{result['month']['nodes']:,}"), ("clock", result["clock"])]
    return [
        ("ranks", common.ranks_of(result)),
        ("cores", str(seen["cores"])),
        ("hosts", ", ".join(seen["hosts"]) or "-"),
        ("clock", result["clock"]),
        ("network", network["name"] if network else "none emulated"),
        ("MPI", (seen.get("mpi") or "none").partition(",")[0]),
    ]


def _environment(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    seen = result["environment"] | ({"network": result["network"]} if result.get("network") else {})
    return [(name, _words(value)) for name, value in seen.items() if value not in (None, [], "")]


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


@lru_cache(maxsize=1)
def _templates() -> Any:
    """The templates, with the functions that they call."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    made = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    kinds = {"table": Table, "verdict": Verdict, "map": Map, "text": Text}
    for name, kind in kinds.items():
        made.tests[name] = lambda item, kind=kind: isinstance(item, kind)
    made.filters |= {"svg": Markup, "cells": _cells, "map_cells": _map_cells, "scenario": _scenario, "key": _key}
    made.filters["answer"] = answer
    return made


def _cells(table: Table) -> Iterable[list[tuple[str, Any, str, bool]]]:
    """Rows of (text, raw number or None, tone, left-aligned)."""
    for number, row in enumerate(table.rows):
        tone = table.tones[number] if table.tones else ""
        yield [
            (column.form(value), _raw(value), tone or column.tone(value), column.left)
            for column, value in zip(table.columns, row, strict=True)
        ]


def _map_cells(one: Map) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    for name, row in zip(one.rows, one.values, strict=True):
        yield name, [("", "") if value is None else (one.form(value), one.tone(value)) for value in row]


def _key(colour: int) -> str:
    """CSS classes of a legend's entry; a colour below 0 stands for curves of several colours."""
    return key(colour) if colour >= 0 else "s-1"


def _raw(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _scenario(one: Scenario) -> str:
    """A scenario as JSON for the page's script."""
    names = ("t_comp", "alpha", "beta", "gamma", "bytes", "draws")
    pieces = coefficients.of_pattern(one.pattern, one.bytes is not None)
    return json.dumps({"pieces": pieces} | {name: getattr(one, name) for name in names}, separators=(",", ":"))


_SHAPES = (
    '<svg width="0" height="0" aria-hidden="true" class="shapes"><defs>'
    '<circle id="m0" r="3.4"/><path id="m1" d="M-3.2-3.2h6.4v6.4h-6.4z"/><path id="m2" d="M0-4.4 4.2 3.2h-8.4z"/>'
    '<path id="m3" d="M0-4.6 4.6 0 0 4.6-4.6 0z"/><path id="m4" d="M0 4.4 4.2-3.2h-8.4z"/>'
    '<path id="m5" d="M-1.4-4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z"/>'
    '<path id="m6" d="M-3.6-2h7.2v4h-7.2z"/><path id="m7" d="M-2-3.8h4v7.6h-4z"/></defs></svg>'
)
"""A shape for each colour, so that no curve is told by its colour alone."""
