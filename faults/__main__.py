"""``python -m faults drill|matrix|soak|alarms|trace|run``: fault drills from outside the job."""

from __future__ import annotations

import click

from emulator.run.options import OneLineGroup
from faults.cli.alarms import alarms
from faults.cli.drill import drill
from faults.cli.matrix import matrix
from faults.cli.run import run
from faults.cli.soak import soak
from faults.cli.trace import trace


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Kill, hang, slow or cut off ranks of a running job and see what recovery costs."""


for command in (drill, matrix, soak, alarms, trace, run):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m faults")
