"""``python -m emulator``: the tools that are not demos."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from emulator import __version__
from emulator.launch import mpirun
from emulator.run.options import OneLineGroup

# Loaded when asked for: a rank that runs a program need not import the report's tables.
_COMMANDS = {
    "networks": ("emulator.commands.networks", "networks"),
    "run": ("emulator.commands.run", "run"),
    "pool": ("emulator.commands.pool", "pool"),
    "report": ("emulator.commands.report", "report"),
}


class _Lazy(OneLineGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        mpirun.prepare()  # a help text looks at all commands before `main` is called
        module, attribute = _COMMANDS[cmd_name]
        command: Any = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_Lazy, help=f"A cluster on your laptop (cluster-emulator {__version__}).")
def main() -> None:
    mpirun.prepare()


@main.command()
@click.option("--fix", is_flag=True, help="Tune the Open MPI of this environment (its own parameter files only).")
def doctor(fix: bool) -> None:
    """Say what MPI there is, whether 16 ranks can start, and what to do about what is missing."""
    from rich.table import Table

    from emulator.launch import mca_parameters
    from emulator.launch.doctor import examine
    from emulator.run.console import outlasting

    console = outlasting(120)
    for path in mca_parameters.tune() if fix else []:
        console.print(f"tuned: {path}")
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}
    table = Table(box=None, show_header=False, pad_edge=False)
    findings = list(examine())
    for finding in findings:
        remedy = f"\n[bold]do:[/] {finding.remedy}" if finding.remedy else ""
        table.add_row(finding.topic, marks[finding.state], finding.text + remedy)
    console.print(table)
    if any(finding.state == "missing" for finding in findings):
        sys.exit(1)


if __name__ == "__main__":
    main()
