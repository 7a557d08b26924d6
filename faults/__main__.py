"""``python -m faults drill|matrix|soak|alarms|trace|month|run``: fault drills from outside the job."""

from __future__ import annotations

import click

from emulator.launch import mpirun

mpirun.prepare()  # before anything imports MPI

from emulator.run.one_line import LazyGroup  # noqa: E402

CAMPAIGNS = ("alarms", "matrix", "month", "soak", "trace")
MODULES = dict.fromkeys(CAMPAIGNS, "faults.cli.campaigns") | {"drill": "faults.cli.drill", "run": "faults.cli.run"}


@click.group(cls=LazyGroup, modules=dict(sorted(MODULES.items())))
def main() -> None:
    """Kill, hang, slow or cut off ranks of a running job and see what recovery costs."""


if __name__ == "__main__":
    main(prog_name="python -m faults")
