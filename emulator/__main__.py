"""``python -m emulator``: the commands that are not demos."""

from __future__ import annotations

import sys

from emulator.launch import mpirun

if __name__ == "__main__":
    mpirun.prepare(begin=sys.argv[1:2] == ["run"])  # before click is imported, by each of many ranks

import click

from emulator import __version__
from emulator.run.one_line import LazyGroup

VERBS = ("compare", "doctor", "networks", "pool", "report", "run", "search", "trace")


@click.group(
    cls=LazyGroup, modules={verb: f"emulator.commands.{verb}" for verb in VERBS},
    help=f"A cluster on your laptop (cluster-emulator {__version__}).",
)  # fmt: skip
def main() -> None:
    pass


if __name__ == "__main__":
    main()
