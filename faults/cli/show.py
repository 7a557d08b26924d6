"""What the commands print."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emulator.measure import statistics
from emulator.units import format_time
from faults.drill.drill import Outcome, phase_spreads, throughput_spreads
from faults.drill.timeline import PHASES, Episode

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_BAR = 40
_MEANS = {
    "detect": "until the first survivor is told",
    "agree": "until all know who lives",
    "rebuild": "until everybody has a place",
    "restore": "until everybody has the state",
    "replay": "until the interrupted step is complete",
}


def timeline_of(episode: Episode, origin: float) -> RenderableType:
    """One recovery: its deaths, then a bar for each phase on the time since the first death."""
    from rich.table import Table

    title = "; ".join(
        f"{format_time(death.at - origin)}: {death.text} (rank {death.place})" for death in episode.deaths
    )
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name, justify in (("phase", "left"), ("from", "right"), ("takes", "right"), ("", "left"), ("", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    at = 0.0
    for phase in PHASES:
        seconds = episode.phases[phase]
        left = round(_BAR * at / episode.seconds)
        width = max(1 if seconds else 0, round(_BAR * seconds / episode.seconds))
        table.add_row(phase, format_time(at), format_time(seconds), " " * left + "█" * width, _MEANS[phase])
        at += seconds
    lost = f"{episode.lost_steps} more steps done again" if episode.lost_steps else "no committed step lost"
    by_rule = f", rank {episode.coordinator} coordinates" if episode.coordinator is not None else ""
    table.add_row("total", "", format_time(episode.seconds), "", f"{lost}{by_rule}")
    return table


def summary(console: Console, outcome: Outcome) -> None:
    """The whole drill: timelines of the first repeat, medians over all, checks."""
    first = outcome.judgements[0]
    for episode in first.episodes:
        console.print(timeline_of(episode, first.episodes[0].began))
        for note in episode.notes:
            console.print(note)
        console.print()
    if len(outcome.judgements) > 1:
        _print_repeats(console, outcome)
    _print_throughput(console, outcome)
    failed = next((j for j in outcome.judgements if not j.recovered), None)
    for name, (ok, text) in (failed or first).checks.items():
        console.print(f"  [{'green' if ok else 'red'}]{'ok    ' if ok else 'FAILED'}[/] {name:13} {text}")
    order = outcome.order
    if failed is None:
        console.print(
            f"[bold]recovered[/] {order.pattern} by {order.recovery}: {order.ranks} ranks, {first.ranks_after} after"
        )
    else:
        console.print(f"[bold red]not recovered[/] at phase {failed.phase}: {failed.reason}")


def _print_repeats(console: Console, outcome: Outcome) -> None:
    seconds = [j.recovery_seconds for j in outcome.judgements if j.recovery_seconds is not None]
    if not seconds:
        return
    of = statistics.summary(seconds)
    parts = ", ".join(
        f"{phase} {_with_interval(of, format_time)}" for phase, of in phase_spreads(outcome.judgements).items()
    )
    console.print(
        f"recovery over {len(seconds)} repeats: median {_with_interval(of, format_time)}, "
        f"worst {format_time(max(seconds))}; medians: {parts}"
    )


def _with_interval(of: dict[str, Any], written: Callable[[float], str]) -> str:
    """The median, and its 95 % interval where there are enough repeats for one."""
    if not of["ci95"]:
        return written(of["median"])
    return f"{written(of['median'])} [{written(of['ci95'][0])}, {written(of['ci95'][1])}]"


def _print_throughput(console: Console, outcome: Outcome) -> None:
    rates = throughput_spreads(outcome)
    before, after = rates["before"], rates["after"]
    if before and after:
        rate = "{:.0f}".format
        console.print(f"steps per second: {_with_interval(before, rate)} before, {_with_interval(after, rate)} after")
