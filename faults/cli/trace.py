"""``python -m faults trace``: goodput against MTBF for every policy, checkpoint intervals, crossovers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from emulator import console, results
from emulator.cli import TIME
from emulator.errors import UsageError
from emulator.units import format_time, parse_time
from faults import trace as traces
from faults.cli.drill import NOT_RECOVERED
from faults.cli.matrix import Names
from faults.plan import describe
from faults.trace import POLICIES, Intervals, Run, Setting

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
@click.option("--work", type=TIME, default="5 s", show_default=True, help="Fault-free length of the job.")
@click.option("--step", type=TIME, default="10 ms", show_default=True, help="Fault-free length of a step.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the trace.")
@click.option("--dry-run", is_flag=True, help="List who dies when and start nothing.")
@click.option("--out", metavar="DIR", help="Run folder; absent: runs/trace/<UTC time>.")
@click.option("--json", "json_file", metavar="FILE", help="Write the result to this file as well.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def trace(
    ranks: int, spares: int, policies: tuple[str, ...], mtbf: tuple[str, ...], work: float, step: float, seed: int,
    dry_run: bool, out: str | None, json_file: str | None, quiet: bool,
) -> None:  # fmt: skip
    """Run one failure trace under every policy.

    Exit status: 0 every job came to the fault-free result, 2 bad input, 3 one did not.
    """
    setting = Setting(ranks, spares, work, step, seed)
    if not step > 0 or not work > 0:
        raise UsageError(f"--step and --work are above 0 s, got {step:g} s and {work:g} s")
    if not mtbf or not policies:
        raise UsageError("a trace needs at least one --mtbf and one of --policies, got none: --mtbf '2 s,1 s'")
    mtbfs = [parse_time(text) for text in mtbf]
    traces.check(setting, policies, mtbfs)
    if dry_run:
        for mean in mtbfs:
            click.echo(f"MTBF {format_time(mean)}:")
            for event in setting.failures(mean):
                click.echo(f"  {describe(event)}")
        return
    screen = console.make(0, quiet)
    folder = results.run_folder("trace", out)
    runs: list[Run] = []
    with console.progress(screen, len(policies) * (1 + len(mtbfs)), "traces") as bar:
        for one in traces.compare(setting, policies, mtbfs, folder):
            runs.append(one)
            bar.advance()
    if screen:
        show(screen, runs, mtbfs)
    best = _intervals(setting, runs, mtbfs, folder, screen)
    if screen and best is not None:
        show_intervals(screen, best)
    record = results.new("trace", ["python", "-m", "faults", *sys.argv[1:]], ranks=ranks)
    record["trace"] = {
        "runs": [one.to_json() for one in runs],
        "crossovers": [vars(crossing) for crossing in traces.crossovers(runs)],
        "intervals": None if best is None else best.to_json(),
    }
    path = results.save(record, folder / results.RESULT)
    if json_file:
        results.save(record, json_file)
    if screen:
        screen.print(f"[dim]result: {path}[/]")
    if any(one.wrong for one in runs):
        sys.exit(NOT_RECOVERED)


def _intervals(
    setting: Setting, runs: Sequence[Run], mtbfs: Sequence[float], folder: Path, screen: Console | None
) -> Intervals | None:
    """Tried at the middle MTBF with the checkpoint's measured cost; None where nobody wrote a checkpoint."""
    costs = [one.checkpoint_s for one in runs if one.checkpoint_s]
    if not costs:
        return None
    with console.progress(screen, len(traces.MULTIPLES), "checkpoint intervals") as bar:
        middle = sorted(mtbfs)[len(mtbfs) // 2]
        return traces.intervals(setting, middle, median(costs), folder, bar.advance)


def show(screen: Console, runs: Sequence[Run], mtbfs: Sequence[float]) -> None:
    """Goodput, a row for each policy and a column for each MTBF."""
    from rich.table import Table

    screen.print("[italic]goodput (deaths)[/]")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("policy")
    table.add_column("no failure", justify="right")
    for mtbf in mtbfs:
        table.add_column(f"MTBF {format_time(mtbf)}", justify="right")
    for policy in dict.fromkeys(one.policy for one in runs):
        table.add_row(policy, *(_cell(one) for one in runs if one.policy == policy))
    screen.print(table)
    crossings = traces.crossovers(runs)
    for crossing in crossings:
        screen.print(
            f"  above an MTBF of {format_time(crossing.mtbf_s)} {crossing.rare} is ahead of {crossing.frequent}, "
            f"below it {crossing.frequent}"
        )
    if not crossings:
        screen.print("  no two policies change places between these MTBFs")
    for one in runs:
        if one.wrong:
            screen.print(f"  [red]wrong[/] {one.policy} at {_mean(one)}: {one.wrong}")
    screen.print()


def _mean(one: Run) -> str:
    return "no failure" if one.mtbf_s is None else f"MTBF {format_time(one.mtbf_s)}"


def _cell(one: Run) -> str:
    return "[red]wrong[/]" if one.wrong else f"{one.goodput:.1%} ({one.failures})"


def show_intervals(screen: Console, found: Intervals) -> None:
    """Each interval that was tried, and how the best compares with theory."""
    from rich.table import Table

    title = f"restart, MTBF {format_time(found.mtbf_s)}, a checkpoint takes {format_time(found.cost_s)}"
    screen.print(f"[italic]{title}[/]")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("every", "checkpoints take", "steps done again", "lost to both", "goodput"):
        table.add_column(name, justify="right")
    for one in found.tried:
        table.add_row(
            f"{one.every} steps", format_time(one.saving_s), str(one.redone_steps), format_time(found.lost_s(one)),
            _cell(one),
        )  # fmt: skip
    screen.print(table)
    screen.print(f"  best of these: every {found.best.every} steps; Young says {found.young}, Daly {found.daly}\n")
