"""``python -m faults month``: a month of a large job with failures, in simulated time, for each recovery policy."""

from __future__ import annotations

from dataclasses import replace

import click

from emulator.errors import UsageError
from emulator.run.options import sharing
from emulator.units import format_time
from faults import policies
from faults.campaigns.month import MEASURED_S, SOURCE, Month, compare, costs_of
from faults.cli.options import Names, Positive
from faults.cli.report import Report, reporting


@click.command()
@click.option("--nodes", type=click.IntRange(min=1), default=4096, show_default=True, help="Nodes that compute.")
@click.option("--mtbf", type=Positive(), default="5 years", show_default=True, help="Mean time between failures of one "
              "node.")  # fmt: skip
@click.option("--recovery", type=Names(), default=tuple(MEASURED_S), show_default=True, help="Policies.")
@click.option("--spares", type=click.IntRange(min=0), default=64, show_default=True, help="Waiting nodes, for spare.")
@click.option("--length", type=Positive(), default="30 days", show_default=True, help="Of the job.")
@click.option("--step", type=Positive(), default="1 s", show_default=True, help="Of one step, which a failure undoes.")
@click.option("--checkpoint", type=Positive(), default="60 s", show_default=True, help="Time to write a "
              "checkpoint, for restart.")  # fmt: skip
@click.option("--recovery-time", type=Positive(), help="What a recovery takes, by any policy. Absent: as --costs says.")
@click.option("--costs", metavar="RUN", help="Run of a drill, a matrix or a soak: a recovery takes its median. Absent "
              f"there, or here: medians of {SOURCE}.")  # fmt: skip
@click.option("--draws", type=click.IntRange(min=1, max=10_000), default=100, show_default=True, help="Months to draw.")
@sharing("seed")
@reporting("month", "Say what would be simulated, and simulate nothing.")
def month(
    nodes: int, mtbf: float, recovery: tuple[str, ...], spares: int, length: float, step: float, checkpoint: float,
    recovery_time: float | None, costs: str | None, draws: int, seed: int, report: Report,
) -> None:  # fmt: skip
    """Simulate a month of failures: goodput, the share lost, and the best checkpoint interval, for each policy."""
    if costs is not None and recovery_time is not None:
        raise UsageError("--costs and --recovery-time both say what a recovery takes, got both: leave one out")
    known = {} if costs is None else costs_of(costs)
    asked = Month(nodes, mtbf, spares, length, step, checkpoint, recovery_time, known, f"{costs}", draws, seed)
    if report.dry_run:
        compare(replace(asked, draws=1), recovery)
        click.echo(f"{nodes} nodes, each with an MTBF of {format_time(mtbf)}: {asked.failures:.3g} failures in "
                   f"{format_time(length)}; {draws} such months are drawn")  # fmt: skip
        for name in recovery:
            click.echo(f"{name}: {policies.of(name).about}; a recovery takes {format_time(asked.recovery(name))} "
                       f"({asked.source(name)})")  # fmt: skip
        return
    with report.begun(1, clock="simulated"):
        rows = compare(asked, recovery)
        told = {"nodes": nodes, "mtbf_s": mtbf, "length_s": length, "step_s": step, "checkpoint_s": checkpoint,
                "draws": draws}  # fmt: skip
        report.save(month={**told, "rows": rows})
        report.show()
