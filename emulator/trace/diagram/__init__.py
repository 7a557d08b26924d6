"""The time-space diagram: ranks as lines, messages as arrows, faults as crosses, phases as bands; as HTML.

`data` picks what is shown, as plain numbers that fit into a result file; `fragment` makes HTML of it, to be put into a
page that has `STYLE` and `SCRIPT` once; `write` makes a page of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from emulator.results.files import replacing
from emulator.trace.diagram.window import KINDS, data
from emulator.units import format_time

__all__ = ["PAGE", "SCRIPT", "STYLE", "data", "fragment", "write"]

PAGE = "trace.html"
_HERE = Path(__file__).parent
STYLE = (_HERE / "diagram.css").read_text(encoding="utf-8")
SCRIPT = (_HERE / "diagram.js").read_text(encoding="utf-8")
_KEYS = "Wheel or + and - zoom, dragging or the arrow keys move, 0 shows all. Point at something to read what it is."
_ROWS = 400  # of a table


def fragment(shown: Mapping[str, Any]) -> str:
    """The diagram as an HTML figure with its legend, its note and its data as tables.

    Parameters
    ----------
    shown : what `data` gives
    """
    legend = "".join(
        f'<span><i class="tl-k{number}"></i>{escape(kind)}</span>'
        for number, kind in enumerate(KINDS)
        if any(span[2] == number for rank in shown["ranks"] for span in rank["spans"])
    )
    content = json.dumps(shown, separators=(",", ":")).replace("<", "\\u003c")
    label = f"time-space diagram of {len(shown['ranks'])} ranks over {format_time(shown['seconds'])}"
    buttons = "".join(
        f'<button type="button" data-do="{key}" aria-label="{name}">{sign}</button>'
        for key, name, sign in (
            ("in", "zoom in", "+"), ("out", "zoom out", "&minus;"), ("left", "earlier", "&larr;"),
            ("right", "later", "&rarr;"), ("all", "show all", "all"), ("path", "critical path", "critical path"),
        )
    )  # fmt: skip
    return (
        '<figure class="wide timeline">'
        f"<figcaption>What each rank did when ({escape(shown['clock'])} clock)</figcaption>"
        f'<div class="tl-legend">{legend}<span><b class="tl-cross">&#10005;</b>fault</span></div>'
        f'<div class="tl-bar">{buttons}<output></output></div>'
        f'<div class="tl-view" tabindex="0" role="group" aria-label="{label}. {_KEYS}"></div>'
        "<noscript><p>JavaScript draws the diagram; the tables below have its data.</p></noscript>"
        f'<p class="dim tl-tip" aria-live="polite">{_KEYS}</p><p class="dim">{escape(shown["note"])}</p>'
        f"{_tables(shown)}"
        f'<script type="application/json">{content}</script></figure>'
    )


def _tables(shown: Mapping[str, Any]) -> str:
    tick, since = shown["tick"], shown["since"]

    def when(ticks: float) -> str:
        return format_time(since + ticks * tick, 6)

    names = [rank["name"] for rank in shown["ranks"]]
    spans = [
        (rank["name"], KINDS[kind], when(begin), format_time((end - begin) * tick, 4), peer if peer >= 0 else "")
        for rank in shown["ranks"]
        for begin, end, kind, peer in rank["spans"]
    ]
    arrows = [
        (names[source], names[target], when(begin), when(end), size)
        for source, target, begin, end, size in shown["messages"]
    ]
    marks = [(rank["name"], text, when(at)) for rank in shown["ranks"] for at, text in rank["faults"]]
    return (
        _table("messages", ("from", "to", "asked for", "received", "bytes"), arrows)
        + _table("activities", ("rank", "activity", "from", "takes", "for rank"), spans)
        + (_table("faults", ("rank", "fault", "at"), marks) if marks else "")
    )


def _table(title: str, heading: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heading)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows[:_ROWS])
    more = f" (the first {_ROWS} of {len(rows):,})" if len(rows) > _ROWS else ""
    return (
        f'<details><summary>data: {title}{more}</summary><div class="table" tabindex="0" role="region" '
        f'aria-label="{title}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>'
    )


def write(shown: Mapping[str, Any], path: Path) -> Path:
    """Write the diagram as an HTML page that needs no other file.

    Raises
    ------
    CannotWrite
        The file system refused it.
    """
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>timeline</title><style>{_PAGE_STYLE}{STYLE}</style></head><body><main>{fragment(shown)}</main>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )
    with replacing(path) as waiting:
        waiting.write_text(page, encoding="utf-8")
    return path


_PAGE_STYLE = """
:root { --paper: #fff; --raised: #f6f7f9; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --grid: #e6e9ed;
  --bad: #b3261e; --link: #0060a8; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --raised: #161b22; --ink: #e6edf3; --soft: #9da7b3;
  --line: #3d444d; --grid: #262c34; --bad: #ff7b72; --link: #79b8ff; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 80rem; margin: 0 auto; padding: 1rem; } figure { margin: 0; } figcaption { font-weight: 600; }
.dim { color: var(--soft); font-size: 0.9rem; } .table { overflow-x: auto; } table { border-collapse: collapse; }
td, th { padding: 0.15rem 0.6rem; text-align: right; border-bottom: 1px solid var(--grid); font-size: 0.85rem; }
"""
