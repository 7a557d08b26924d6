"""``python -m emulator``: the commands that are not demos."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from emulator.launch import mpirun

if __name__ == "__main__":
    mpirun.prepare(begin=sys.argv[1:2] == ["run"])  # before click is imported, by each of many ranks

import click

from emulator import __version__
from emulator.run.one_line import OneLineGroup


class _Lazy(OneLineGroup):
    """Imports a command's module when it is asked for: a rank that runs a program needs no report."""

    COMMANDS = ("compare", "doctor", "networks", "pool", "report", "run", "trace")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.COMMANDS:
            return None
        mpirun.prepare()  # a help text looks at all commands before `main` is called
        command: Any = getattr(importlib.import_module(f"emulator.commands.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Lazy, help=f"A cluster on your laptop (cluster-emulator {__version__}).")
def main() -> None:
    pass


if __name__ == "__main__":
    main()
