"""``python -m faults matrix``: which patterns survive which faults by which policy, and what each costs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from emulator.report import drills, terminal
from faults.campaigns import matrix as matrices
from faults.campaigns.matrix import FAILED, SCENARIOS, Result
from faults.cli.options import Names, Positive
from faults.cli.report import NOT_RECOVERED, Report, over, reporting

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.option("-n", "ranks", type=click.IntRange(min=3), default=6, show_default=True, help="Ranks at work.")
@click.option("--patterns", type=Names(), default=(), help="Absent: all.")
@click.option("--policies", type=Names(), default=(), help="Absent: all that a pattern has.")
@click.option("--faults", type=Names(), default=(), help=f"Of {', '.join(SCENARIOS)}; absent: all.")
@click.option("--spares", type=click.IntRange(min=1), default=1, show_default=True, help="Ranks that wait, for spare.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Drills in each cell.")
@click.option("--net", metavar="NAME|FILE.toml", help="Emulated network; absent: where the fault is one of a network.")
@click.option("--deadline", type=Positive(), default="120 s", show_default=True, help="Longest time for one launch.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@reporting("matrix", "List the cells and start nothing.")
def matrix(
    ranks: int, patterns: tuple[str, ...], policies: tuple[str, ...], faults: tuple[str, ...], spares: int,
    repeat: int, net: str | None, deadline: float, seed: int, report: Report,
) -> None:  # fmt: skip
    """Drill every pattern under every policy against every fault.

    Exit status: 0 all that can survive did, 2 bad input, 3 something did not.
    """
    chosen = matrices.cells(patterns, policies, faults)
    emulated = over(net, ranks + spares)
    if report.dry_run:
        for cell in chosen:
            order = cell.order(ranks, spares, seed, repeat, deadline, net)
            why = matrices.refusal(cell, order)
            what = f"not run: {why}" if why else "; ".join(fault.text for fault in order.faults)
            click.echo(f"{cell.pattern} by {cell.policy}, {cell.fault}: {what}")
        return
    found: list[Result] = []
    with report.begun(ranks, **emulated) as folder:
        with report.progress(len(chosen), f"{len(chosen)} drills") as bar:
            for one in matrices.run(
                chosen, folder, ranks=ranks, spares=spares, seed=seed, repeat=repeat, deadline_s=deadline, net=net
            ):
                found.append(one)
                report.save(matrix=[each.to_json() for each in found])
                bar.advance()
        report.show(lambda screen: show(screen, found))
    if any(one.outcome == FAILED for one in found):
        sys.exit(NOT_RECOVERED)


def show(screen: Console, found: Sequence[Result]) -> None:
    """A row for each fault, a column for each pattern and policy; then what went wrong, and what the faults are."""
    about = {one.cell.fault: SCENARIOS[one.cell.fault].about for one in found}
    terminal.show(drills.matrix({"matrix": [one.to_json() for one in found], "scenarios": about}), screen)
