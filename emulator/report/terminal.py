"""A whole result as it is printed on a terminal: what a demo shows when it ends, and ``python -m emulator report``."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from emulator.measure.statistics import FEWEST_FOR_INTERVAL
from emulator.report import tables
from emulator.results import environment
from emulator.speedup import MOST_NODES
from emulator.units import format_size, format_time


def parts(result: Mapping[str, Any], width: int = 150) -> Iterator[Any]:
    """Give strings and rich tables, in the order in which they are to be printed.

    Parameters
    ----------
    result
        The result file's content.
    width
        Columns of the terminal.
    """
    yield from _measurements(result, width)
    yield from _fits(result)
    if result.get("held_out"):
        yield from _held_out(result)
    if result.get("checks"):
        yield tables.checks(result["checks"], "Configured and recovered (PASS within 1 %)")
    yield from (f"[dim]not checked: {text}[/]" for text in result.get("unchecked", []))
    if result.get("fidelity"):
        yield fidelity_line(result["fidelity"])
    for one in result.get("meaning", []):
        yield from _meaning(one, result["clock"] == "wall")
    yield from warnings(result)


def warnings(result: Mapping[str, Any]) -> Iterator[str]:
    """Everything that makes the figures unstable."""
    if result.get("warnings"):
        yield "[bold]What makes these figures unstable[/]"
        yield from (f"  - {text}" for text in result["warnings"])


def opening(result: Mapping[str, Any], plan: str) -> str:
    """One line that says what runs where, by which clock."""
    seen = result["environment"]
    ranks = f"{seen['ranks']} rank{'s' * (seen['ranks'] > 1)}"
    where = f"{ranks} on {seen['cores']} cores of {', '.join(seen['hosts'])}"
    if len(seen["hosts"]) > 1:
        where = f"{ranks} on {len(seen['hosts'])} hosts of {seen['cores']} cores"
    network = result.get("network")
    carrier = f"emulated network {network['name']}, emulated seconds" if network else "wall clock"
    return f"{where}, {seen['mpi'] or 'without MPI'}, {carrier}; {plan}\n"


def _measurements(result: Mapping[str, Any], width: int) -> Iterator[Any]:
    rows = [row for row in result["measurements"] if row["pattern"] not in ("link", "reduction")]
    clock = "" if result["clock"] == "wall" else f", {result['clock']} time"
    patterns = list(dict.fromkeys(row["pattern"] for row in rows))
    for ranks in dict.fromkeys(row["ranks"] for row in rows):
        these = [row for row in rows if row["ranks"] == ranks]
        if len(patterns) == 1:
            yield tables.measurements(these, f"{patterns[0]}, {ranks} ranks{clock}", width)
        else:
            yield tables.comparison(these, f"{ranks} ranks{clock}, microseconds")
        yield ""
    if len(patterns) == 1 and any("held_out" in row for row in rows):
        held = any(row.get("held_out") for row in rows)
        unseen = "; predicted: by a fit on fewer ranks, which has not seen these" if held else ""
        yield (
            "[dim]time: median over n repetitions of the whole operation, from the first rank's start to the last "
            f"one's end; fitted: by the fit below, to these very times{unseen}; error: against time[/]"
        )
        yield ""


def _fits(result: Mapping[str, Any]) -> Iterator[Any]:
    if not result["fits"]:
        return
    yield tables.fits(result["fits"])
    crowding = result["environment"]["oversubscription"]
    if crowding > 1 and result["clock"] == "wall":
        yield (
            f"[dim]p ranks on c < p cores take turns: the model of a collective is multiplied by p / c, here by "
            f"{crowding:g} at most, and its terms are those of ranks with a core each[/]"
        )
    for pattern, factors in result.get("contention", {}).items():
        known = [f"{term} x {_factor(one)}" for term, one in factors.items() if one is not None]
        if known:
            yield (
                f"a step of {pattern} beside a bare message between two idle ranks: {', '.join(known)} "
                "(queues and shared caches, and what the algorithm itself does for a step)"
            )
    yield ""


def _factor(one: Mapping[str, Any]) -> str:
    return f"{one['value']:.3g}" + (f" {tables.interval(one['ci95'], 1.0)}" if one["ci95"] else "")


def _held_out(result: Mapping[str, Any]) -> Iterator[Any]:
    several = len({row.get("pattern") for row in result["held_out"]}) > 1
    for pattern, group in groupby(result["held_out"], key=lambda row: row.get("pattern", "")):
        rows = list(group)
        errors = sorted(abs(row["relative_error"]) for row in rows)
        known = f"fitted on p <= {result['fitted_up_to']}, " if result.get("fitted_up_to") else ""
        typical, worst = tables.percent(errors[len(errors) // 2]), tables.percent(errors[-1])
        errors_said = f"median error {typical}, worst {worst}"
        yield f"[bold]Held out[/]: {pattern}, {known}predicts p = {rows[0]['ranks']}: {errors_said}"
        if several:
            continue
        yield tables.held_out(rows)
    yield ""


def fidelity_line(fidelity: Mapping[str, Any]) -> str:
    """Say how well emulated time was kept."""
    named = {name: value for name, value in fidelity.items() if value is not None and name != "words"}
    figures = ", ".join(f"{name.replace('_', ' ')} {_value(name, value)}" for name, value in named.items())
    words = fidelity.get("words")
    return f"fidelity: {figures}" + (f"\n  {words}" if words else "") + "\n"


def _value(name: str, value: Any) -> str:
    if name.endswith("share"):
        return tables.percent(value)
    if name.startswith("late"):
        return format_time(value)
    return str(value)


def _meaning(one: Mapping[str, Any], launches_differ: bool) -> Iterator[str]:
    n, t_comp = format_size(one["bytes"]), format_time(one["t_comp"])
    terms = one["terms"]
    name = (
        one["pattern"] if one.get("algorithm", one["pattern"]) == one["pattern"] else f"auto, here {one['algorithm']},"
    )
    yield f"[bold]What it means[/]: {name} of {n} in each step, a step of {t_comp} on one node (--t-comp)"
    yield (
        f"  with a core for each rank: alpha {format_time(terms['alpha'])}, beta {terms['beta'] * 1e9:.4g} ns/B, gamma "
        f"{terms['gamma'] * 1e9:.4g} ns/B ({one['form']})"
    )
    yield from (f"  {line}" for line in verdict(one["best"], one["dominated"], one.get("best_ci95")))
    if one.get("best_ci95") and launches_differ:
        yield "  [dim]the interval is that of this fit; launches differ by more: python -m emulator pool RUN RUN ...[/]"
    textbook = one.get("textbook")
    if textbook:
        yield (
            f"  for the textbook's calculator: python -m demos.speedup --t-comp {one['t_comp']:g}s "
            f"--alpha {textbook['alpha']:.4g}s --beta {textbook['beta']:.4g}s"
        )
    yield ""


def verdict(
    best: Mapping[str, Any], dominated: Mapping[str, Any] | None, interval: Sequence[int] | None = None
) -> Iterator[str]:
    """Say what p* is, what it brings, and from where communication dominates."""
    bounds = f" [{interval[0]}, {interval[1]}]" if interval else ""
    limit = " (the most that is considered)" if best["p"] == MOST_NODES else ""
    yield (
        f"p* = {best['p']}{bounds}{limit}, S(p*) = {best['speedup']:.2f}, "
        f"efficiency {best['efficiency'] * 100:.1f} %, R(p*) = {best['ratio']:.2f}"
    )
    if dominated is None:
        yield f"communication does not dominate up to p = {MOST_NODES}"
    else:
        yield f"communication dominates from p = {dominated['p']}, where S = {dominated['speedup']:.2f}"


def unstable(result: Mapping[str, Any]) -> list[str]:
    """List why the timings of a result may be unstable, as far as the result itself shows."""
    found = environment.warnings(result["environment"]) if result["clock"] == "wall" else []
    rows = result["measurements"]
    few = [row for row in rows if (row["seconds"].get("n") or 0) < FEWEST_FOR_INTERVAL]
    if few:
        found.append(
            f"{len(few)} of {len(rows)} jobs have fewer than {FEWEST_FOR_INTERVAL} repetitions: there is no 95 % "
            "interval of their medians, nor of what is fitted to them; give a larger --budget"
        )
    loose = [row for row in rows if row["seconds"].get("stopped") == "budget" and _loose(row)]
    if loose:
        found.append(
            f"{len(loose)} of {len(rows)} medians are known no better than to 20 % when the time was up: "
            "give a larger --budget"
        )
    skewed = [row for row in rows if (row["seconds"].get("skew") or 0) > 0.5 * row["seconds"]["median"]]
    if skewed:
        found.append(
            f"in {len(skewed)} of {len(rows)} jobs the ranks start further apart than half of the time measured, "
            f"up to {format_size(max(row['bytes'] for row in skewed))} bytes: there the time is mostly waiting"
        )
    return found


def _loose(row: Mapping[str, Any]) -> bool:
    interval = row["seconds"]["ci95"]
    return interval is not None and bool(interval[1] - interval[0] > 0.2 * row["seconds"]["median"])
