"""``python -m faults drill|matrix|soak|alarms|trace|month|run``: fault drills from outside the job."""

from __future__ import annotations

import click

from emulator.launch import mpirun

mpirun.prepare()  # before anything imports MPI

from emulator.run.options import LazyGroup  # noqa: E402

VERBS = ("alarms", "drill", "matrix", "month", "run", "soak", "trace")


@click.group(cls=LazyGroup, package="faults.cli", names=VERBS)
def main() -> None:
    """Kill, hang, slow or cut off ranks of a running job and see what recovery costs."""


if __name__ == "__main__":
    main(prog_name="python -m faults")
