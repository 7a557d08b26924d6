"""The whiteboard of a design as SVG: boxes that hold partitions, arrows with pattern and bytes, six slots below.

Five kinds of boxes: coordinator, nodes, servers, replicas, spares. Light and dark follow the viewer's setting; the
picture is 800 units wide and its smallest text 13 units high.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from html import escape
from textwrap import wrap

import numpy as np

from emulator.design.model import Design
from emulator.design.prices import communication
from emulator.design.prices.failures import recovery_cost
from emulator.design.prices.pricing import Priced
from emulator.design.sheets.descriptions import counted, failures_cost, size, slots
from emulator.units import format_time

WIDTH = 800
_IN_BOX, _BESIDE_ARROW = 22, (37, 33, 28)  # characters of the smallest text that have room there, line by line
_STYLE = """
:root { --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #8c959f; --node: #ddf4ff; --server: #fff1cc;
        --lead: #e6dcff; --copy: #f0f1f3; --arrow: #0969da; }
@media (prefers-color-scheme: dark) {
:root { --paper: #0d1117; --ink: #e6edf3; --soft: #9da7b3; --line: #6e7681; --node: #12324a; --server: #4a3a0c;
        --lead: #34245c; --copy: #21262d; --arrow: #58a6ff; } }
text { font: 14px system-ui, sans-serif; fill: var(--ink); } .small { font-size: 13px; fill: var(--soft); }
.title { font-size: 20px; font-weight: 600; } .strong { font-weight: 600; }
rect { stroke: var(--line); stroke-width: 1.5; } .arrow { stroke: var(--arrow); stroke-width: 2; fill: none; }
""".strip()


def draw(priced: Priced, nodes: int) -> str:
    """The design at a node count, as the text of an SVG file."""
    facts, design = priced.facts, priced.design
    row = priced.at(nodes)
    lines = _wrapped(slots(facts, design, nodes))
    height = 388 + 18 * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img"><title>{escape(facts.job.name)}</title><style>{_STYLE}</style>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="var(--arrow)"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" style="fill:var(--paper);stroke:none"/>',
        _text(24, 36, _cut(facts.job.name, 42), "title"),
        *(_text(24, 58 + 17 * k, line, "small") for k, line in enumerate(wrap(facts.job.sentence, 56, max_lines=2))),
        *_corner(priced, row), *_picture(priced, nodes),
    ]  # fmt: skip
    for index, (head, text) in enumerate(lines):
        y = 384 + 18 * index
        parts += [_text(24, y, head, "strong"), _text(160, y, text)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _cut(text: str, most: int) -> str:
    """Truncate a text to at most `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\u2026"


def _named(name: str, rest: str, most: int) -> str:
    """Write NAME: REST in at most `most` characters; if too long, the name is truncated."""
    return f"{_cut(name, max(4, most - len(rest) - 2))}: {rest}"


def _box(x: float, y: float, width: float, height: float, colour: str, head: str, *lines: str) -> list[str]:
    middle = x + width / 2
    found = [f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" style="fill:var(--{colour})"/>',
             _text(middle, y + 22, head, "strong", "middle")]  # fmt: skip
    return found + [_text(middle, y + 40 + 17 * k, line, "small", "middle") for k, line in enumerate(lines)]


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="arrow" d="M{x1:g} {y1:g} {x2:g} {y2:g}" marker-start="url(#tip)" marker-end="url(#tip)"/>'


def _corner(priced: Priced, row: dict[str, float]) -> list[str]:
    """Write the main figures at the top right."""
    best = priced.best()
    recovery = format_time(recovery_cost(priced.facts, priced.design))
    lines = (f"p = {row['p']:g}: S = {row['speedup']:.2f}, R = {float(format(row['ratio'], '.2g')):g}",
             f"p* = {best}: S = {priced.at(best)['speedup']:.2f}" if best else "no p is feasible",
             f"recovery {recovery}, {failures_cost(priced.facts, row['waste'], 1)}")  # fmt: skip
    return [_text(WIDTH - 24, 36 + 19 * k, line, "" if k else "strong", "end") for k, line in enumerate(lines)]


def _picture(priced: Priced, nodes: int) -> list[str]:
    """Draw coordinator or servers above, three nodes below, arrows between."""
    design, facts = priced.design, priced.facts
    held = [_named(s.name, _held(s.bytes, design.holder(s), nodes, design.servers), _IN_BOX) for s in facts.states]
    tasks = [_cut(f"{task.count} {task.name}" + ("s" if task.count > 1 else ""), _IN_BOX) for task in facts.tasks]
    of_nodes = [text for s, text in zip(facts.states, held, strict=True) if design.holder(s) != "servers"]
    xs, found = (90, 320, 550), []
    names = ("node 0", "node 1", f"node {nodes - 1}") if nodes > 2 else ("node 0", "node 1")[:nodes]
    for x, name in zip(xs, names, strict=False):
        found += _box(x, 262, 160, 80, "node", name, *(of_nodes or tasks or ["a share of the work"])[:3])
    if nodes > 3:
        found.append(_text(515, 304, "...", "strong", "middle"))
    flows = _labels(priced, nodes)
    if design.servers:
        on = [text for s, text in zip(facts.states, held, strict=True) if design.holder(s) == "servers"]
        found += _box(290, 92, 220, 90, "server", counted(design.servers, "server"), *on[:3])
        if design.replicas:
            found += _box(550, 92, 160, 90, "copy", counted(design.replicas, "replica"),
                          "of each server", "on other hosts")  # fmt: skip
            found.append(_arrow(510, 137, 550, 137))
    elif _coordinated(design):
        free = design.control == "decentralized"
        serves = "data" if design.data == "central" else "tasks" if facts.tasks else "models"
        found += _box(290, 92, 220, 90, "lead", "aggregator" if free else "coordinator",
                      f"{serves} only" if free else f"control and {serves}",
                      f"if lost: {design.if_lost or 'not said'}")  # fmt: skip
        if design.replicas:
            found += _box(550, 92, 160, 90, "copy", counted(design.replicas, "replica"), "of each shard",
                          "on other hosts")  # fmt: skip
    if design.servers or _coordinated(design):
        found += [_arrow(400 + (x - 320) / 4, 182, x + 80, 262) for x in xs[: len(names)]]
        if any(kind.sums or kind.graph for kind in design.kinds):
            found += _between(xs[: len(names)], nodes)
        found += [_text(24, 200 + 17 * k, line, "small") for k, line in enumerate(flows)]
    else:
        found += _between(xs[: len(names)], nodes)
        if len(names) > 2:
            bent = "M170 262 C 300 190, 500 190, 630 262"
            found.append(f'<path class="arrow" d="{bent}" marker-start="url(#tip)" marker-end="url(#tip)"/>')
        found += [_text(400, 190 - 17 * k, line, "small", "middle") for k, line in enumerate(reversed(flows))]
    if design.control == "central" and (design.servers or not _coordinated(design)):
        lost = f"if lost: {design.if_lost or 'not said'}"
        found += _box(24, 92, 150, 90, "lead", "coordinator", "control only", lost)
    if design.spares:
        found += _box(716, 262, 70, 80, "copy", f"{design.spares}", "spare" + "s" * (design.spares > 1))
    return found


def _between(xs: Sequence[int], nodes: int) -> list[str]:
    """Draw arrows between neighbouring nodes; the last one is interrupted for nodes that are not drawn."""
    found = []
    for number, (a, b) in enumerate(itertools.pairwise(xs)):
        gap = [(a + 160, 324, b, 324)] if nodes <= 3 or not number else [(a + 160, 324, 506, 324), (524, 324, b, 324)]
        found += [_arrow(*ends) for ends in gap]
    return found


def _labels(priced: Priced, nodes: int) -> list[str]:
    """Pattern and bytes per node and step of each flow that has messages of its own, in at most three lines."""
    facts, design = priced.facts, priced.design
    said: list[str] = []
    for flow in design.flows:
        if not communication.silent(facts, flow):
            sent = communication.per_step(facts, design, flow, np.array([nodes]))[4, 0]
            said.append(_named(flow.of, f"{flow.pattern}, {size(sent)}", _BESIDE_ARROW[min(len(said), 2)]))
    more = [f"and {len(said) - 2} more"] if len(said) > 3 else []
    return (said[: 3 - len(more)] + more) + (["per node and step"] if len(said) + len(more) < 4 else [])


def _coordinated(design: Design) -> bool:
    return any(kind.coordinator for kind in design.kinds)


def _held(total: float, holder: str, nodes: int, servers: int) -> str:
    share = {"servers": max(1, servers), "shards": nodes}.get(holder, 1)
    return size(total / share) + (f" (1/{share})" if share > 1 else "")


def _wrapped(texts: dict[str, str], most: int = 84) -> list[tuple[str, str]]:
    """Wrap slots into lines of at most `most` characters; the name stands at the first."""
    lines = []
    for slot, text in texts.items():
        heads = itertools.chain([slot.replace("_", " ")], itertools.repeat(""))
        lines += list(zip(heads, wrap(text, most), strict=False))
    return lines
