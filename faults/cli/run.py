"""``python -m faults run``: run a user's program that recovers; success is read from its ranks' status files."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from click.core import ParameterSource

from emulator.run import console
from faults.cli.options import Positive
from faults.launch import live
from faults.launch.own_program import LAUNCHES
from faults.launch.own_program import run as run_program
from faults.policies import POLICIES


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-n", "ranks", type=click.IntRange(min=1), required=True, help="Processes, spares included.")
@click.option(
    "--recovery",
    type=click.Choice(tuple(POLICIES)),
    default="shrink",
    show_default=True,
    help="The program's policy: restart starts the job again, under the others it goes on by itself.",
)
@click.option("--launches", type=click.IntRange(min=1), default=LAUNCHES, show_default=True, help="Most launches.")
@click.option("--deadline", type=Positive(), help="Longest time for one launch; absent: none.")
@click.option(
    "--limit", "limit_s", type=Positive(), help="Kill a rank that is stopped for so long; absent: 1 s, more if busy."
)
@click.option("--detector/--no-detector", default=True, show_default=True, help="Look for stopped ranks.")
@click.option("--json", "json_file", metavar="FILE", help="Write status, launches, recoveries and ranks' ends to it.")
@click.argument("program", nargs=-1, required=True, metavar="PROGRAM.py|-m MODULE [ARGUMENT]...")
def run(
    ranks: int, recovery: str, launches: int, deadline: float | None, limit_s: float | None, detector: bool,
    json_file: str | None, program: tuple[str, ...],
) -> None:  # fmt: skip
    """Run a program that uses faults.recovering, routing or restarting, until its ranks have finished or failed.

    Exit status: 0 it came to its end, 2 bad usage, 3 not recovered, else the program's own, 1 if it failed without one.
    """
    name = program[: 2 if program[0] == "-m" else 1]
    if after := _options_after(click.get_current_context(), program[len(name) :]):
        hint = f"{', '.join(after)} after {' '.join(name)} goes to the program; options of faults run come before it"
        print(f"hint: {hint}", file=sys.stderr)
    screen = console.make_console(stderr=not sys.stdout.isatty())
    with console.progress(screen, None) as ranks_at_work, live.on(ranks_at_work):
        status = run_program(program, ranks, recovery, launches, deadline, json_file, limit_s if detector else 0.0)
    sys.exit(status)


def _options_after(context: click.Context, arguments: Sequence[str]) -> list[str]:
    """The program's arguments that are spelled like an option that was not given to this command."""
    ours = {
        name
        for option in context.command.params
        if option.name and context.get_parameter_source(option.name) is ParameterSource.DEFAULT
        for name in (*option.opts, *option.secondary_opts)
    }
    return [name for name in (one.partition("=")[0] for one in arguments) if name in ours]
