"""``python -m faults alarms``: what each detector notices how soon, and whom it gives up wrongly."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from emulator.units import format_time
from faults.campaigns import alarms as sightings
from faults.campaigns.alarms import DETECTORS, SITUATIONS, SWIM, Sighting
from faults.cli.options import Names, Positive
from faults.cli.report import NOT_RECOVERED, Report, reporting

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.option(
    "-n", "ranks", type=click.IntRange(min=3), default=4, show_default=True, help="Ranks; 8 per core in the crowd."
)
@click.option("--detectors", type=Names(), default=(), help=f"Of {', '.join(DETECTORS)}; absent: all.")
@click.option("--situations", type=Names(), default=(), help=f"Of {', '.join(SITUATIONS)}; absent: all.")
@click.option("--limit", type=Positive(), help="Silence that means death; absent: from the ranks per core.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@reporting("alarms", "List the jobs and start nothing.")
def alarms(
    ranks: int, detectors: tuple[str, ...], situations: tuple[str, ...], limit: float | None, seed: int,
    report: Report,
) -> None:  # fmt: skip
    """Compare failure detectors: time to detection, and false alarms in situations that must kill nobody.

    Exit status: 0 nobody who lives was ended, 2 bad input, 3 somebody was.
    """
    sightings.check(detectors, situations)
    names, judges = situations or tuple(SITUATIONS), detectors or DETECTORS
    if report.dry_run:
        for name in names:
            click.echo(f"{name}: {SITUATIONS[name].about}; seen by {', '.join(judges)}")
        return
    found: list[Sighting] = []
    with report.begun(ranks) as folder:
        jobs = sightings.run(folder, ranks=ranks, detectors=judges, situations=names, limit_s=limit, seed=seed)
        with report.progress(len(names) * len(judges), "jobs") as bar:
            for one in jobs:
                found.append(one)
                report.save(alarms=[each.to_json() for each in found])
                bar.advance()
        report.show(lambda screen: show(screen, found, ranks))
    if any(one.wrong or (one.false and one.detector != SWIM) for one in found):
        sys.exit(NOT_RECOVERED)


def show(screen: Console, found: Sequence[Sighting], ranks: int) -> None:
    """A row for each detector, a column for each situation."""
    from rich.table import Table

    names = list(dict.fromkeys(one.situation for one in found))
    title = f"{ranks} ranks: time to detection, or living ranks given up"
    screen.print(f"[italic]{title}[/]")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("detector")
    for name in names:
        table.add_column(name, justify="right")
    for detector in dict.fromkeys(one.detector for one in found):
        row = {one.situation: one for one in found if one.detector == detector}
        table.add_row(detector, *(_cell(row[name]) for name in names))
    limits = {one.situation: format_time(one.limit_s) for one in found}
    table.add_row("[dim]limit[/]", *(f"[dim]{limits[name]}[/]" for name in names))
    screen.print(table)
    screen.print()
    for name in names:
        screen.print(f"  {name:9} {SITUATIONS[name].about}")
    for one in found:
        if one.wrong:
            screen.print(f"  [red]wrong[/]     {one.situation} under {one.detector}: {one.wrong}")
    harmless = [one for one in found if not SITUATIONS[one.situation].real]
    ended = sum(len(one.false) for one in harmless if one.detector != SWIM)
    if harmless:
        verdict = "nobody who lives was ended" if not ended else f"[red]{ended} living ranks were ended[/]"
        screen.print(f"[bold]{verdict}[/] in {sum(one.detector != SWIM for one in harmless)} harmless jobs")


def _cell(one: Sighting) -> str:
    if one.wrong:
        return "[red]wrong[/]"
    false = f"{len(one.false)} false" if one.false else ""
    if not SITUATIONS[one.situation].real:
        return false or "0"
    seen = format_time(one.detected_s) if one.detected_s is not None else "not noticed"
    return f"{seen}, {false}" if false else seen
