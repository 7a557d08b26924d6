"""``python -m faults alarms``: how soon each detector notices a failure, and which live ranks it suspects."""

from __future__ import annotations

import sys

import click

from faults.campaigns import alarms as campaign
from faults.campaigns.alarms import SITUATIONS, Detection
from faults.cli.options import Names, requesting
from faults.cli.report import NOT_RECOVERED, Report, reporting
from faults.detect import DETECTORS
from faults.drill.request import Request


@click.command()
@requesting(
    "ranks", "limit_s", "trace", "trace_limit", "seed",
    ranks={"type": click.IntRange(min=3), "default": 4, "help": "Ranks; 8 per core in the crowd."},
    seed={"default": 0, "show_default": True, "help": "Seed of all random choices."},
)  # fmt: skip
@click.option("--detectors", type=Names(), default=(), help=f"Of {', '.join(DETECTORS)}; absent: all.")
@click.option("--situations", type=Names(), default=(), help=f"Of {', '.join(SITUATIONS)}; absent: all.")
@reporting("alarms", "List the jobs and start nothing.")
def alarms(request: Request, detectors: tuple[str, ...], situations: tuple[str, ...], report: Report) -> None:
    """Compare failure detectors: time to detection, and false alarms in situations that must kill no rank.

    Exit status: 0 no live rank was killed, 2 bad input, 3 one was.
    """
    campaign.check(detectors, situations)
    names, chosen = situations or tuple(SITUATIONS), detectors or tuple(DETECTORS)
    if report.dry_run:
        for name in names:
            click.echo(f"{name}: {SITUATIONS[name].about}; seen by {', '.join(chosen)}")
        return
    about = {name: {"about": SITUATIONS[name].about, "real": SITUATIONS[name].real} for name in names}
    found: list[Detection] = []
    with report.begun(request.ranks) as folder:
        with report.progress(len(names) * len(chosen), "jobs") as bar:
            for one in campaign.run(request, folder, chosen, names):
                found.append(one)
                report.save(alarms=[vars(each) for each in found], situations=about)
                bar.advance()
        if request.trace:
            slowest = max(found, key=lambda one: one.detection_seconds or 0.0)
            job = f"{slowest.situation}-{slowest.detector}"
            report.add_timeline(folder / job, f"the slowest detection, {job}")
        report.show()
    if any(one.wrong or one.false_alarms for one in found):
        sys.exit(NOT_RECOVERED)
