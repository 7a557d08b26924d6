"""``python -m faults soak``: random kills until told to stop; hangs, wrong results and leftovers must all be 0."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from emulator.launch import mpirun
from emulator.measure import statistics
from emulator.run.options import SIZE
from emulator.units import format_time
from faults.campaigns import random_trials
from faults.campaigns import soak as soaks
from faults.campaigns.soak import Tally
from faults.cli.options import Names
from faults.cli.report import NOT_RECOVERED, Report, over, reporting
from faults.launch.supervise import need_ulfm
from faults.patterns.catalogue import CATALOGUE

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.option("--kills", type=click.IntRange(min=1), default=300, show_default=True, help="Kills to be fired.")
@click.option("--most-ranks", type=click.IntRange(min=2), default=16, show_default=True, help="Largest job.")
@click.option("--patterns", type=Names(), default=(), help=f"Of {', '.join(CATALOGUE)}; absent: ring.")
@click.option("--policies", type=Names(), default=(), help="Absent: shrink and spare for ring, all of other patterns.")
@click.option("--net", metavar="NAME|FILE.toml", help="Emulated network; absent: the transport as it is.")
@click.option("--ballast", type=SIZE, default=0, help="Bytes that travel beside the work: kills meet long messages.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@reporting("soak", "List the trials, as long as every kill fires, and start nothing.")
def soak(
    kills: int, most_ranks: int, patterns: tuple[str, ...], policies: tuple[str, ...], net: str | None, ballast: int,
    seed: int, report: Report,
) -> None:  # fmt: skip
    """Kill ranks at random instants, job after job.

    Exit status: 0 clean, 2 bad input, 3 something hung, was wrong or was left.
    """
    chosen = random_trials.jobs(patterns, policies, most_ranks, net)
    if report.dry_run:
        for trial in soaks.trials(kills, seed, most_ranks, chosen, net, ballast):
            click.echo(f"{trial.text}: {'; '.join(trial.lines)}")
        return
    for policy in {policy for _, policy in chosen}:
        need_ulfm(mpirun.find_mpi(), policy)
    about = {
        "seed": seed,
        "net": net,
        "ballast": ballast,
        "jobs": [f"{pattern} by {policy}" for pattern, policy in chosen],
    }
    with report.begun(most_ranks, **over(net, most_ranks)) as folder:
        with report.progress(kills, "kills") as bar:

            def keep(tally: Tally, fired: int) -> None:
                report.save(soak=about | tally.to_json())
                bar.advance(fired)

            tally = soaks.soak(
                kills, seed, folder, most_ranks=most_ranks, chosen=chosen, net=net, ballast=ballast, seen=keep
            )
        report.show(lambda screen: show(screen, tally))
    for line in tally.failed:
        print(f"error: {line}", file=sys.stderr)
    if not tally.clean:
        print(f"error: the folders of failed trials are in {folder}; trials repeat with --seed {seed}", file=sys.stderr)
        sys.exit(NOT_RECOVERED)


def show(screen: Console, tally: Tally) -> None:
    """Counts, how long recoveries took, and what a clean soak says about the rate of failures."""
    screen.print(
        f"{tally.kills} kills in {tally.launches} launches: {tally.hangs} hangs, {tally.wrong} wrong results, "
        f"{tally.leftovers} with leftovers, {len(tally.failed)} failed"
    )
    for pattern, policy in dict.fromkeys((one.pattern, one.recovery) for one in tally.recoveries):
        seconds = [one.seconds for one in tally.recoveries if (one.pattern, one.recovery) == (pattern, policy)]
        of = statistics.summary(seconds)
        screen.print(
            f"{pattern} by {policy}, {len(seconds)} recoveries: median {format_time(of['median'])}, "
            f"p95 {format_time(of['p95'])}, worst {format_time(max(seconds))}"
        )
    if tally.clean:
        screen.print(f"0 of {tally.kills} failed: below {tally.bound:.2%} per kill with 95 % confidence")
