"""``python -m faults drill|matrix|soak|alarms|trace|month|run``: fault drills from outside the job."""

from __future__ import annotations

import click

from emulator.launch import mpirun

mpirun.prepare()  # before anything imports MPI

from emulator.run.one_line import OneLineGroup  # noqa: E402
from faults.cli.campaigns import alarms, matrix, month, soak, trace  # noqa: E402
from faults.cli.drill import drill  # noqa: E402
from faults.cli.run import run  # noqa: E402


@click.group(cls=OneLineGroup)
def main() -> None:
    """Kill, hang, slow or cut off ranks of a running job and see what recovery costs."""


for command in (drill, matrix, soak, alarms, trace, month, run):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m faults")
