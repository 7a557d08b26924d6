"""``python -m faults trace``: goodput against MTBF for every policy, checkpoint intervals, crossovers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from emulator.report import drills, terminal
from emulator.units import format_time, parse_time
from faults.campaigns import failure_trace as traces
from faults.campaigns.failure_trace import POLICIES, Intervals, Run, Setting
from faults.cli.options import Names, Positive
from faults.cli.report import NOT_RECOVERED, Report, reporting
from faults.plan import describe

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.option("-n", "ranks", type=click.IntRange(min=2), default=8, show_default=True, help="Ranks at work.")
@click.option("--spares", type=click.IntRange(min=1), default=2, show_default=True, help="Ranks that wait, for spare.")
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
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the trace.")
@reporting("trace", "List who dies when and start nothing.")
def trace(
    ranks: int, spares: int, policies: tuple[str, ...], mtbf: tuple[str, ...], work: float, step: float, seed: int,
    report: Report,
) -> None:  # fmt: skip
    """Run one failure trace under every policy.

    Exit status: 0 every job came to the fault-free result, 2 bad input, 3 one did not.
    """
    setting = Setting(ranks, spares, work, step, seed)
    mtbfs = [parse_time(text) for text in mtbf]
    traces.check(setting, policies, mtbfs)
    if report.dry_run:
        for mean in mtbfs:
            click.echo(f"MTBF {format_time(mean)}:")
            for event in setting.failures(mean):
                click.echo(f"  {describe(event)}")
        return
    runs: list[Run] = []
    with report.begun(ranks) as folder:
        with report.progress(len(policies) * (1 + len(mtbfs)), "traces") as bar:
            for one in traces.compare(setting, policies, mtbfs, folder):
                runs.append(one)
                report.save(trace=_record(runs, None))
                bar.advance()
        best = _intervals(setting, runs, mtbfs, folder, report)
        report.show(lambda screen: show(screen, runs, best))
    if any(one.wrong for one in runs):
        sys.exit(NOT_RECOVERED)


def _record(runs: Sequence[Run], best: Intervals | None) -> dict[str, Any]:
    return {
        "runs": [one.to_json() for one in runs],
        "crossovers": [vars(crossing) for crossing in traces.crossovers(runs)],
        "intervals": None if best is None else best.to_json(),
    }


def _intervals(
    setting: Setting, runs: Sequence[Run], mtbfs: Sequence[float], folder: Path, report: Report
) -> Intervals | None:
    """Tried at the middle MTBF with the checkpoint's measured cost; None where nobody wrote a checkpoint."""
    costs = [one.checkpoint_s for one in runs if one.checkpoint_s]
    if not costs:
        return None
    with report.progress(len(traces.MULTIPLES), "checkpoint intervals") as bar:

        def keep(found: Intervals) -> None:
            report.save(trace=_record(runs, found))
            bar.advance()

        middle = sorted(mtbfs)[len(mtbfs) // 2]
        return traces.intervals(setting, middle, median(costs), folder, keep)


def show(screen: Console, runs: Sequence[Run], best: Intervals | None) -> None:
    """Goodput, a row for each policy and a column for each MTBF; the intervals that were tried beside theory's."""
    terminal.show(drills.trace({"trace": _record(runs, best)}), screen)
