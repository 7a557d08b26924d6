"""``python -m faults matrix``: which patterns survive which faults by which policy, and what each costs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from emulator.units import format_time
from faults import matrix as matrices
from faults.cli.options import Names, Positive
from faults.cli.report import NOT_RECOVERED, Report, reporting
from faults.matrix import FAILED, REFUSED, SCENARIOS, Result

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.option("-n", "ranks", type=click.IntRange(min=3), default=6, show_default=True, help="Ranks at work.")
@click.option("--patterns", type=Names(), default=(), help="Absent: all.")
@click.option("--policies", type=Names(), default=(), help="Absent: all that a pattern has.")
@click.option("--faults", type=Names(), default=(), help=f"Of {', '.join(SCENARIOS)}; absent: all.")
@click.option("--spares", type=click.IntRange(min=1), default=1, show_default=True, help="Ranks that wait, for spare.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Drills in each cell.")
@click.option("--deadline", type=Positive(), default="120 s", show_default=True, help="Longest time for one launch.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@reporting("matrix", "List the cells and start nothing.")
def matrix(
    ranks: int, patterns: tuple[str, ...], policies: tuple[str, ...], faults: tuple[str, ...], spares: int,
    repeat: int, deadline: float, seed: int, report: Report,
) -> None:  # fmt: skip
    """Drill every pattern under every policy against every fault.

    Exit status: 0 all that can survive did, 2 bad input, 3 something did not.
    """
    chosen = matrices.cells(patterns, policies, faults)
    if report.dry_run:
        for cell in chosen:
            order = cell.order(ranks, spares, seed, repeat, deadline)
            why = matrices.refusal(cell, order)
            what = f"not run: {why}" if why else "; ".join(fault.text for fault in order.faults)
            click.echo(f"{cell.pattern} by {cell.policy}, {cell.fault}: {what}")
        return
    found: list[Result] = []
    with report.begun(ranks) as folder:
        with report.progress(len(chosen), f"{len(chosen)} drills") as bar:
            for one in matrices.run(
                chosen, folder, ranks=ranks, spares=spares, seed=seed, repeat=repeat, deadline_s=deadline
            ):
                found.append(one)
                report.save(matrix=[each.to_json() for each in found])
                bar.advance()
        report.show(lambda screen: show(screen, found, ranks))
    if any(one.outcome == FAILED for one in found):
        sys.exit(NOT_RECOVERED)


def show(screen: Console, found: Sequence[Result], ranks: int) -> None:
    """A row for each pattern and policy, a column for each fault; then what the columns mean and what went wrong."""
    from rich.table import Table

    faults = list(dict.fromkeys(one.cell.fault for one in found))
    title = f"{ranks} ranks: from the fault to the next complete step, and the ranks that go on"
    screen.print(f"[italic]{title}[/]")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("pattern", "policy"):
        table.add_column(name, no_wrap=True)
    for name in faults:
        table.add_column(name, justify="right")
    for job in dict.fromkeys((one.cell.pattern, one.cell.policy) for one in found):
        row = {one.cell.fault: one for one in found if (one.cell.pattern, one.cell.policy) == job}
        table.add_row(*job, *(_cell(row[name]) if name in row else "" for name in faults))
    screen.print(table)
    screen.print()
    for name in faults:
        screen.print(f"  {name:9} {SCENARIOS[name].about}")
    _reasons(screen, [one for one in found if one.outcome == REFUSED], "not run (-)")
    _reasons(screen, [one for one in found if one.outcome == FAILED], "[red]FAILED[/]")
    survived = sum(one.drill is not None and one.outcome != FAILED for one in found)
    screen.print(f"[bold]{survived} of {sum(one.outcome != REFUSED for one in found)} drills survived[/]")


def _cell(one: Result) -> str:
    if one.outcome == REFUSED:
        return "-"
    if one.outcome == FAILED or one.drill is None:
        return "[red]FAILED[/]"
    seconds, after = one.drill["recovery_seconds"], one.drill["ranks_after"]
    lost = f" -{one.drill['lost_steps']}" if one.drill["lost_steps"] else ""
    return f"{format_time(seconds)}{lost} ({after})" if seconds is not None else f"fine ({after})"


def _reasons(screen: Console, some: Sequence[Result], label: str) -> None:
    for why in dict.fromkeys(one.why for one in some):
        who = ", ".join(f"{o.cell.pattern} by {o.cell.policy}, {o.cell.fault}" for o in some if o.why == why)
        screen.print(f"  {label} {who}: {why}")
