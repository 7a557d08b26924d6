"""``python -m emulator doctor``: examine the MPI, the cores and the slots of this machine."""

from __future__ import annotations

import sys

import click

from emulator.launch import mca_parameters
from emulator.launch.doctor import examine
from emulator.run.console import make_console

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}


@click.command()
@click.option("--fix", is_flag=True, help="Tune the Open MPI of this environment (its own parameter files only).")
def doctor(fix: bool) -> None:
    """Say what MPI there is, whether 16 ranks can start, and what to do about what is missing."""
    from rich.table import Table

    console = make_console()
    for path in mca_parameters.tune() if fix else []:
        console.print(f"tuned: {path}")
    table = Table(box=None, show_header=False, pad_edge=False)
    findings = list(examine())
    for finding in findings:
        remedy = f"\n[bold]do:[/] {finding.remedy}" if finding.remedy else ""
        table.add_row(finding.topic, _MARKS[finding.state], finding.text + remedy)
    console.print(table)
    if any(finding.state == "missing" for finding in findings):
        sys.exit(1)
