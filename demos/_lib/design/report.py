"""The output of the design command (findings, predictions, rankings, margins, tools) as lines that fit the screen."""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator import costs, speedup
from emulator.design.prices import failures, pricing
from emulator.design.prices.pricing import Priced
from emulator.design.sheets.descriptions import counted, short, size, slots, terms_words
from emulator.design.sheets.tables import State
from emulator.run.console import width
from emulator.units import format_time

if TYPE_CHECKING:
    from emulator.design.model import Design, Facts
    from emulator.design.planning.planner import Ranking
    from emulator.design.planning.tolerance import Margin
    from emulator.design.reviewing.review import Finding

_RANKED = 4  # designs of a plan on one screen
_UNDER = " " * 7  # before the further lines of one
_TERMS = ("compute", "waiting", "latency", "bandwidth", "reduction", "queueing")


def wrapped(text: str, first: str = "", more: str = "") -> list[str]:
    """Wrap a text to the screen's width, 80 columns in a pipe; `first` begins it, `more` every further line."""
    return textwrap.wrap(text, width(), initial_indent=first, subsequent_indent=more, break_on_hyphens=False)


def findings(found: Sequence[Finding]) -> Iterator[str]:
    """Two lines for each finding; one line if there is none."""
    if not found:
        yield "no objections: all 17 rules are met"
    for one in found:
        kind = "error" if one.error else "question"
        yield from wrapped(f"{kind} {one.rule} [{one.slot}] {one.text}", more="    ")
        yield from wrapped(f"-> {one.remedy}", "    ", "       ")


def prediction(priced: Sequence[Priced], nodes: Sequence[int]) -> Iterator[str]:
    """One screen for a design; a second design gets another column."""
    first = priced[0]
    facts = first.facts
    yield from wrapped(facts.job.name + (f": {facts.job.sentence}" if facts.job.sentence else ""))
    for each in dict.fromkeys(one.facts for one in priced):
        yield from wrapped(f"{terms_words(each.alpha, each.beta, each.gamma, each.draws)}, {each.origin}", more="  ")
    yield ""
    for one, p in zip(priced, nodes, strict=True):
        yield from _slots(facts, one.design, p)
        yield ""
    rows = [one.at(min(p, facts.job.most)) for one, p in zip(priced, nodes, strict=True)]

    def line(name: str, *cells: str) -> str:
        return f"{name:<34}" + "".join(f"{cell:>22}" for cell in cells)

    yield line("a step at p", *(f"{row['p']}" for row in rows))
    for term in _TERMS:
        if any(row[term] for row in rows):
            yield line(f"  {term}", *(f"{format_time(row[term])} {row[term] / row['step']:6.1%}" for row in rows))
    yield line("  T(p)", *(format_time(row["step"]) for row in rows))
    yield line("S(p), efficiency", *(f"{row['speedup']:.2f} {row['efficiency']:6.1%}" for row in rows))
    yield line("R(p) = T_comm / compute", *(f"{row['ratio']:.2f}" for row in rows))
    yield line("sent per node and step", *(size(row["sent"]) for row in rows))
    yield line("memory of a node (of a server)", *(_memory(one, row) for one, row in zip(priced, rows, strict=True)))
    bests = [one.best() for one in priced]
    yield line("p*, S(p*)", *(_best(one, best) for one, best in zip(priced, bests, strict=True)))
    intervals = [pricing.best_interval(one) for one in priced]
    if any(intervals):
        yield line("p*, 95 % interval", *(f"{found[0]}..{found[1]}" if found else "-" for found in intervals))
    yield line("nodes to ask for (5 % off)", *(str(one.knee() or "none") for one in priced))
    yield line("communication dominates from p", *(str(one.dominated() or "never") for one in priced))
    fails = [one.facts.job.mtbf is not None for one in priced]
    lost = (f"{row['waste']:.2%}" if known else "not priced" for row, known in zip(rows, fails, strict=True))
    yield line("lost to failures", *lost)
    yield line("recovery", *(format_time(failures.recovery_cost(one.facts, one.design)) for one in priced))
    yield line(f"job of {facts.job.steps} steps", *(_duration(row["job"]) for row in rows))
    yield line("node-hours", *(f"{row['node_seconds'] / 3600:.4g}" for row in rows))
    if facts.job.deadline is not None:
        yield line("99 % of the answers within", *(format_time(row["answer"]) for row in rows))
    for text in dict.fromkeys((*_capped(priced), *_remarks(priced, nodes))):
        yield from wrapped(text, more="  ")


def _slots(facts: Facts, design: Design, nodes: int) -> Iterator[str]:
    for slot, text in slots(facts, design, nodes).items():
        yield from wrapped(text, f"{slot.replace('_', ' '):<17}", " " * 17)


def _capped(priced: Sequence[Priced]) -> Iterator[str]:
    """A line if p* is the largest node count that was examined."""
    for one in priced:
        most = int(one.p[-1]) - one.extra_nodes
        if one.best() == most and most > 1:
            limit = "the network's places" if one.facts.places <= one.p[-1] else "[job] most"
            beside = f" with {one.extra_nodes} beside them" if one.extra_nodes else ""
            yield f"p* = {most}{beside} is the limit, {limit} = {int(one.p[-1])}: the optimum may lie beyond it"


def _remarks(priced: Sequence[Priced], nodes: Sequence[int]) -> Iterator[str]:
    """Lines on what has no price or a first-order one, and on the origin of the others."""
    facts = priced[0].facts
    for one in priced:
        if stale := pricing.unpriced(one.design):
            yield f"not priced: the effect on progress of {', '.join(stale)} (give [consistency] penalty)"
    rough = [one for one, p in zip(priced, nodes, strict=True) if one.first_order(min(p, facts.job.most))]
    if facts.crossed and rough:
        yield f"not priced: messages that meet on a link of the {facts.crossed} (run follows them)"
    if facts.sharing == "packet":
        yield ('not priced: sharing = "packet"; messages are followed as if cards served them whole, only the formulas '
               "of parameter servers and federated averaging have it (run follows it)")  # fmt: skip
    if facts.protocol:
        yield "not priced: [protocol], [slow_start] and segments of the link (run follows them)"
    for one, p in zip(priced, nodes, strict=True):
        p = min(p, facts.job.most)
        if p in one.followed:
            yield (f"latency and bandwidth at p = {p} are exact, followed message by message; at other node counts "
                   "(p*, nodes to ask for) they are of first order")  # fmt: skip
        elif one.first_order(p):
            yield f"latency and bandwidth at p = {p} are by formulas of first order: the slowest path for all messages"
    for each in facts.shared if rough else ():
        yield f"to first order: nodes that share one {each.name} are taken to send at once (run follows them)"
    if any(one.facts.job.mtbf is None for one in priced):
        yield "not priced: failures (give [job] mtbf, the mean time between failures of a node)"
    if any(one.facts.recovery is None for one in priced):
        yield 'recovery: the shipped median of 16 ranks on one machine; [fault_tolerance] from = "RUN" takes a drill\'s'


def _memory(one: Priced, row: dict[str, float]) -> str:
    return size(row["memory"]) + (f" ({size(one.server_memory)})" if one.server_memory else "")


def _best(one: Priced, best: int | None) -> str:
    return "infeasible" if best is None else f"{best}, {one.at(best)['speedup']:.2f}"


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "infeasible"
    if seconds >= 3600:
        return f"{seconds / 3600:.4g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 120 else format_time(seconds)


def reopened(before: Sequence[Finding], after: Sequence[Finding], changes: Sequence[str]) -> str:
    """The slots that a change reopens: those of findings that the unchanged sheet lacks."""
    old = {(one.rule, one.slot) for one in before}
    new = {one.slot: one.rule for one in after if (one.rule, one.slot) not in old}
    if not new:
        return f"{', '.join(changes)} opens no other slot again"
    return f"{', '.join(changes)} opens again: " + ", ".join(f"{slot} (rule {rule})" for slot, rule in new.items())


def sensitivity(varied: Sequence[tuple[float, float, Priced]]) -> Iterator[str]:
    """Lines with p* for alpha and beta multiplied by factors."""
    yield f"\n{'alpha x':>8} {'beta x':>7} {'p*':>6} {'S(p*)':>8} {'ask for':>8} {'dominated from':>15}"
    for a, b, one in varied:
        best = one.best()
        speedup = f"{one.at(best)['speedup']:.2f}" if best else "-"
        yield (f"{a:>8g} {b:>7g} {best or '-':>6} {speedup:>8} {one.knee() or '-':>8} "
               f"{one.dominated() or 'never':>15}")  # fmt: skip


def ranking(found: Ranking, full: bool = False) -> Iterator[str]:
    """Lines with the winner, the losers with reasons, the default, what the rules exclude, and the crossovers.

    Parameters
    ----------
    full : all that lose and each cut, instead of the next ones and a line for each rule
    """
    winner = found.winner
    cut = sum(found.cut.values())
    yield from wrapped(f"{found.facts.job.name}: {counted(found.searched, 'design')} by {found.objective}; "
                       f"{counted(cut, 'choice')} cut by rules")  # fmt: skip
    yield ""
    yield from _slots(found.facts, winner.design, winner.nodes)
    row = winner.priced.at(winner.nodes)
    yield from wrapped(
        f"S({winner.nodes}) = {row['speedup']:.2f}, a step {format_time(row['step'])}, job {_duration(row['job'])}, "
        f"{size(max(row['memory'], winner.priced.server_memory))} of {size(found.facts.job.memory)}")  # fmt: skip
    yield f"\n{'nodes':>6} {'job':>11} {'memory':>9}  design, and why it is there"
    shown = found.ranked if full else found.ranked[:_RANKED]
    for place, one in enumerate(shown):
        row = one.priced.at(one.nodes)
        fullest = max(row["memory"], one.priced.server_memory)
        yield from _entry(one.nodes, _duration(row["job"]), size(fullest), short(one.design),
                          ("wins: " if not place else "") + one.reason)  # fmt: skip
    if hidden := len(found.ranked) - len(shown):
        yield f"{'':>6} {hidden} more that lose: --full"
    default = found.default
    job = _duration(default.priced.at(default.nodes)["job"]) if default.nodes else "-"
    yield from _entry(default.nodes or "-", job, size(default.priced.memory.min()),
                      f"the default: {short(default.design)}", default.reason)  # fmt: skip
    if found.cut:
        yield "\ncut by rules"
        for reason, count in found.cut.most_common() if full else _by_rule(found.cut):
            yield from wrapped(reason, f"  {count:>4}  ", " " * 8)
    for text in found.crossovers:
        yield from wrapped(f"crossover: {text}", more="  ")
    if stale := pricing.unpriced(winner.design):
        yield from wrapped(f"not priced: the effect on progress of {', '.join(stale)}", more="  ")


def _by_rule(cut: Counter[str]) -> list[tuple[str, int]]:
    """What each rule excludes, in one line, and how many choices."""
    counts: Counter[str] = Counter()
    choices: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for reason, count in cut.most_common():
        choice, _, rule = reason.rpartition(": ")
        counts[rule] += count
        if choice:
            part, _, way = choice.partition(": ")
            choices[rule][f"{part} by {way.partition(',')[0]}"] = None
    return [(": ".join(filter(None, (rule, ", ".join(choices[rule])))), count) for rule, count in counts.most_common()]


def _entry(nodes: Any, job: str, memory: str, text: str, reason: str) -> Iterator[str]:
    yield from wrapped(text, f"{nodes:>6} {job:>11} {memory:>9}  ", _UNDER)
    yield from wrapped(reason, _UNDER + "- ", _UNDER + "  ")


def margins(found: Sequence[Margin], facts: Facts) -> Iterator[str]:
    """A line for each fact."""
    yield f"{'may grow by, until':<20} {'the nodes move 10 %':>19} {'other patterns win':>19} {'policy changes':>15}"
    for one in found:
        margins = (one.nodes, one.pattern, one.policy)
        cells = (f"{factor:.3g} x" if factor and factor < 1000 else f"over {one.most:.0f} x" for factor in margins)
        nodes, pattern, policy = cells
        yield f"{one.fact:<20} {nodes:>19} {pattern:>19} {policy:>15}"
    if not facts.uniform:
        yield from wrapped("by formulas of first order, also where predict follows the messages at the sheet's own p",
                           more="  ")  # fmt: skip


def mapping(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Lines with the tool of each slot, and its options below."""
    for slot, tool, options in rows:
        yield from wrapped(tool, f"{slot:<29}", " " * 29)
        if options != "-":
            yield from wrapped(options, " " * 31, " " * 31)


def record(one: Priced, nodes: int) -> dict[str, Any]:
    """A prediction for the result file."""
    row = one.at(min(nodes, one.facts.job.most))
    return {
        "design": asdict(one.design), "terms": {term: row[term] for term in _TERMS}, "step": row["step"],
        "speedup": row["speedup"], "p": row["p"], "p_star": one.best(), "knee": one.knee(), "waste": row["waste"],
        "recovery": failures.recovery_cost(one.facts, one.design), "job": row["job"], "sent": row["sent"],
        "memory": row["memory"], "origin": one.facts.origin, "curve": _curve(one), "model": _model(one),
        "first_order": one.first_order(int(row["p"])),
    }  # fmt: skip


def _curve(one: Priced) -> dict[str, Any]:
    """S(p) at four p per octave up to the most nodes, and the first p that communication dominates."""
    nodes = sorted({min(round(2 ** (step / 4)), one.facts.job.most) for step in range(4 * 21)})
    total = pricing.work(one.facts)
    speedups = [total / float(one.step[p - 1]) for p in nodes]
    return {"p": nodes, "speedup": speedups, "dominated": one.dominated()}


def _model(one: Priced) -> dict[str, Any] | None:
    """The terms of an `emulator.speedup` model with the same price as this design at every p; None if there is none."""
    facts, flow, total = one.facts, one.design.flows[0], pricing.work(one.facts)
    part = facts.parts[flow.of]
    alone = len(one.design.flows) == 1
    if not alone or not isinstance(part, State) or flow.algorithm not in costs.PATTERNS or not total:
        return None
    terms = {"t_comp": total, "alpha": facts.alpha, "beta": facts.beta, "gamma": facts.gamma}
    model = speedup.measured(total, flow.algorithm, part.bytes, facts.alpha, facts.beta, facts.gamma, facts.origin)
    alike = np.allclose(one.step, total / one.p + model.communication(one.p), rtol=1e-9, atol=0.0)
    if not alike or model.best().p != one.best():
        return None
    return terms | {"bytes": part.bytes, "pattern": flow.algorithm, "form": model.form} | model.answers()
