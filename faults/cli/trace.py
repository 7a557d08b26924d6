"""``python -m faults trace``: goodput against MTBF for every policy, checkpoint intervals, crossovers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

import click

from emulator.units import format_time, parse_time
from faults.campaigns import failure_trace as traces
from faults.campaigns.failure_trace import POLICIES, Intervals, Run, Setting
from faults.cli.options import Names, Positive, requesting
from faults.cli.report import NOT_RECOVERED, Report, reporting
from faults.drill.request import Request
from faults.plan.events import describe


@click.command()
@requesting(
    "ranks", "spares", "seed",
    spares={"type": click.IntRange(min=1), "default": 2, "show_default": True, "help": "Spare ranks, for spare."},
    seed={"default": 1, "show_default": True, "help": "Seed of the trace."},
)  # fmt: skip
@click.option("--policies", type=Names(), default=POLICIES, show_default=True)
@click.option(
    "--mtbf",
    type=Names(),
    default=("4 s", "2 s", "1 s"),
    show_default=True,
    help="Mean times between failures of the whole job.",
)
@click.option("--work", type=Positive(), default="5 s", show_default=True, help="Fault-free length of the job.")
@click.option("--step", type=Positive(), default="10 ms", show_default=True, help="Fault-free length of a step.")
@reporting("trace", "List who dies when and start nothing.")
def trace(
    request: Request, policies: tuple[str, ...], mtbf: tuple[str, ...], work: float, step: float, report: Report
) -> None:
    """Run one failure trace under every policy.

    Exit status: 0 every job came to the fault-free result, 2 bad input, 3 one did not.
    """
    setting = Setting(request.ranks, request.spares or 0, work, step, request.seed)
    mtbfs = [parse_time(text) for text in mtbf]
    traces.check(setting, policies, mtbfs)
    if report.dry_run:
        for mean in mtbfs:
            click.echo(f"MTBF {format_time(mean)}:")
            for event in setting.failures(mean):
                click.echo(f"  {describe(event)}")
        return
    runs: list[Run] = []
    with report.begun(request.ranks) as folder:
        with report.progress(len(policies) * (1 + len(mtbfs)) + len(traces.MULTIPLES), "jobs") as bar:
            for one in traces.compare(setting, policies, mtbfs, folder):
                runs.append(one)
                report.save(trace=_record(runs, None))
                bar.advance()

            def keep(found: Intervals) -> None:
                report.save(trace=_record(runs, found))
                bar.advance()

            costs = [one.checkpoint_s for one in runs if one.checkpoint_s]
            if costs:  # of the policies with checkpoints, at the middle MTBF
                traces.intervals(setting, sorted(mtbfs)[len(mtbfs) // 2], median(costs), folder, keep)
        report.show()
    if any(one.wrong for one in runs):
        sys.exit(NOT_RECOVERED)


def _record(runs: Sequence[Run], best: Intervals | None) -> dict[str, Any]:
    return {
        "runs": [vars(one) for one in runs],
        "crossovers": [vars(crossing) for crossing in traces.crossovers(runs)],
        "intervals": None if best is None else best.to_json(),
    }
