"""``python -m faults matrix``: which patterns survive which faults by which policy, and what each costs."""

from __future__ import annotations

import sys
from typing import Any

import click

from faults.campaigns import matrix as matrices
from faults.campaigns.matrix import FAILED, SCENARIOS
from faults.cli.options import Names, requesting
from faults.cli.report import NOT_RECOVERED, Report, over, reporting
from faults.drill.drill import repeat_folder
from faults.drill.request import Request


@click.command()
@requesting(
    "ranks", "simulate", "spares", "repeat", "net", "deadline_s", "trace", "trace_limit", "seed",
    ranks={"type": click.IntRange(min=3), "default": 6},
    spares={"type": click.IntRange(min=1), "default": 1, "show_default": True, "help": "Spare ranks, for spare."},
    repeat={"help": "Drills in each cell."},
    net={"help": "Emulated network; absent: where the fault is one of a network."},
    seed={"default": 0, "show_default": True, "help": "Seed of all random choices."},
)  # fmt: skip
@click.option("--patterns", type=Names(), default=(), help="Absent: all.")
@click.option("--policies", type=Names(), default=(), help="Absent: all that a pattern has.")
@click.option("--faults", "scenarios", type=Names(), default=(), help=f"Of {', '.join(SCENARIOS)}; absent: all.")
@reporting("matrix", "List the cells and start nothing.")
def matrix(
    request: Request, patterns: tuple[str, ...], policies: tuple[str, ...], scenarios: tuple[str, ...], report: Report
) -> None:
    """Drill every pattern under every policy against every fault.

    Exit status: 0 all that can survive did, 2 bad input, 3 something did not.
    """
    chosen = matrices.cells(patterns, policies, scenarios)
    emulated = over(request, request.ranks + (request.spares or 0))
    if report.dry_run:
        for cell in chosen:
            asked = cell.request(request)
            why = matrices.refusal(cell, asked)
            what = f"not run: {why}" if why else "; ".join(asked.faults)
            click.echo(f"{cell.pattern} by {cell.recovery}, {cell.fault}: {what}")
        return
    about = {name: SCENARIOS[name].about for name in dict.fromkeys(cell.fault for cell in chosen)}
    found: list[dict[str, Any]] = []
    with report.begun(request.ranks, **emulated) as folder:
        with report.progress(len(chosen), "drills") as bar:
            for one in matrices.run(chosen, request, folder):
                found.append(vars(one))
                report.save(matrix=found, scenarios=about)
                bar.advance()
        recovered = [one for one in found if one["drill"] and one["drill"]["recovery_seconds"]]
        if request.trace and recovered:
            slowest = max(recovered, key=lambda one: float(one["drill"]["recovery_seconds"]))
            job = f"{slowest['pattern']}-{slowest['recovery']}-{slowest['fault']}"
            report.add_timeline(folder / job / repeat_folder(0), f"the slowest recovery, {job}")
        report.show()
    if any(one["outcome"] == FAILED for one in found):
        sys.exit(NOT_RECOVERED)
