"""``python -m faults soak``: random kills, job after job; hangs, wrong results and leftovers must all be 0."""

from __future__ import annotations

import sys

import click

from emulator.launch import mpirun
from faults.campaigns import random_trials
from faults.campaigns import soak as soaks
from faults.campaigns.soak import Tally
from faults.cli.options import Names, requesting
from faults.cli.report import NOT_RECOVERED, Report, over, reporting
from faults.drill.request import Request
from faults.launch.supervise import need_ulfm
from faults.patterns.catalogue import CATALOGUE


@click.command()
@click.option("--kills", type=click.IntRange(min=1), default=300, show_default=True, help="Least kills fired.")
@requesting(
    "ranks", "simulate", "net", "ballast", "trace", "trace_limit", "seed",
    ranks={"flag": "--most-ranks", "default": 16, "help": "Largest job."},
    ballast={"help": "Bytes that are sent along with the work, so that kills interrupt long messages."},
    seed={"default": 0, "show_default": True, "help": "Seed of all random choices."},
)  # fmt: skip
@click.option("--patterns", type=Names(), default=(), help=f"Of {', '.join(CATALOGUE)}; absent: ring.")
@click.option("--policies", type=Names(), default=(), help="Absent: shrink and spare for ring, all of other patterns.")
@reporting("soak", "List the trials, as long as every kill fires, and start nothing.")
def soak(kills: int, request: Request, patterns: tuple[str, ...], policies: tuple[str, ...], report: Report) -> None:
    """Kill ranks at random instants, job after job.

    Exit status: 0 clean, 2 bad input, 3 something hung, was wrong or was left.
    """
    chosen = random_trials.jobs(patterns, policies, request)
    if report.dry_run:
        for trial in soaks.trials(kills, request, chosen):
            click.echo(f"{trial.text}: {'; '.join(trial.request.faults)}")
        return
    for policy in {policy for _, policy in chosen if not request.simulate}:
        need_ulfm(mpirun.find_mpi(), policy)
    about = {
        "seed": request.seed,
        "net": request.network,
        "ballast": request.options.get("ballast", 0),
        "jobs": [f"{pattern} by {policy}" for pattern, policy in chosen],
    }
    with report.begun(request.ranks, **over(request, request.ranks)) as folder:
        with report.progress(kills, "kills") as bar:

            def keep(tally: Tally, fired: int) -> None:
                report.save(soak=about | tally.to_json())
                bar.advance(fired)

            tally = soaks.soak(kills, request, folder, chosen, keep)
        if request.trace and tally.recoveries:
            slowest = max(tally.recoveries, key=lambda one: float(one["seconds"]))
            job = f"trial {slowest['trial']}, {slowest['pattern']} by {slowest['recovery']}"
            report.add_timeline(folder / soaks.place(slowest["trial"]), f"the slowest recovery, in {job}")
        report.show()
    for line in tally.failed:
        print(f"error: {line}", file=sys.stderr)
    if tally.failed:
        again = f"trials repeat with --seed {request.seed}"
        print(f"error: the folders of failed trials are in {folder}; {again}", file=sys.stderr)
        sys.exit(NOT_RECOVERED)
