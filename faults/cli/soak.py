"""``python -m faults soak``: random kills until told to stop; hangs, wrong results and leftovers must all be 0."""

from __future__ import annotations

import sys

import click

from emulator import console, launch, results, spread
from emulator.units import format_time
from faults import soak as soaks
from faults.cli.drill import NOT_RECOVERED
from faults.supervise import need_ulfm


@click.command()
@click.option("--kills", type=click.IntRange(min=1), default=300, show_default=True, help="Kills to be fired.")
@click.option("--most-ranks", type=click.IntRange(min=2), default=16, show_default=True, help="Largest job.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", metavar="DIR", help="Run folder; absent: runs/soak/<UTC time>.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def soak(kills: int, most_ranks: int, seed: int, out: str | None, quiet: bool) -> None:
    """Kill ranks at random instants, job after job.

    Exit status: 0 clean, 2 bad input, 3 something hung, was wrong or was left.
    """
    need_ulfm(launch.find_mpi(), "shrink")
    screen = console.make(0, quiet)
    folder = results.run_folder("soak", out)
    with console.progress(screen, kills, "kills") as bar:
        tally = soaks.soak(kills, seed, folder, most_ranks=most_ranks, seen=lambda tally, fired: bar.advance(fired))
    if screen:
        screen.print(
            f"{tally.kills} kills in {tally.launches} launches: {tally.hangs} hangs, {tally.wrong} wrong results, "
            f"{tally.leftovers} with leftovers, {len(tally.failed)} failed"
        )
        if tally.recoveries_s:
            of = spread.summary(tally.recoveries_s)
            screen.print(
                f"{len(tally.recoveries_s)} recoveries: median {format_time(of['median'])}, "
                f"p95 {format_time(of['p95'])}, worst {format_time(max(tally.recoveries_s))}"
            )
        if tally.clean:
            screen.print(f"0 of {tally.kills}: below {tally.bound:.2%} per kill with 95 % confidence")
    for line in tally.failed:
        print(f"error: {line}", file=sys.stderr)
    if not tally.clean:
        print(f"error: the folders of failed trials are in {folder}; trials repeat with --seed {seed}", file=sys.stderr)
        sys.exit(NOT_RECOVERED)
