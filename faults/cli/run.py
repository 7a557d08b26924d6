"""``python -m faults run``: run a user's program that recovers; success is read from its ranks' status files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from emulator.errors import UsageError
from emulator.policies import POLICIES
from emulator.run import console
from emulator.run.options import refuse_idle_limit, sharing
from emulator.trace.folder import prepare
from faults.cli.options import Positive
from faults.cli.report import Report
from faults.launch import live
from faults.launch.own_program import LAUNCHES, check_program, in_words
from faults.launch.own_program import run as run_program


def _refuse_simulated(ctx: click.Context, option: click.Parameter, ranks: int | None) -> None:
    """Refuse --simulate: a recovering program is started and judged as processes, and simulated ranks share one."""
    if ranks is not None:
        raise UsageError(
            f"a program that recovers runs on real ranks, got --simulate {ranks}: give -n {ranks}; faults drill "
            "--simulate simulates failures of the patterns, emulator run --simulate a program without failures"
        )


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-n", "ranks", type=click.IntRange(min=1), required=True, help="Number of processes, spares included.")
@click.option("--simulate", type=int, hidden=True, is_eager=True, expose_value=False, callback=_refuse_simulated)
@click.option(
    "--recovery",
    type=click.Choice(tuple(POLICIES)),
    default="shrink",
    show_default=True,
    help="The program's policy: with restart a new launch resumes the job, with the others the survivors go on.",
)
@click.option("--launches", type=click.IntRange(min=1), default=LAUNCHES, show_default=True, help="Launch limit.")
@click.option("--deadline", type=Positive(), help="Time limit of one launch; absent: none.")
@click.option(
    "--limit", "limit_s", type=Positive(), help="Kill a rank that is stopped for this long; absent: 1 s, more if busy."
)
@click.option("--detector/--no-detector", default=True, show_default=True, help="Look for stopped ranks.")
@sharing(
    "trace", "trace-limit", "out", "json",
    out={"help": "Keep a result and its page in this folder; absent: with --trace, in runs/program/<UTC time>, else "
         "nowhere."},
    json={"help": "Write status, launches, recoveries and how ranks ended to this file."},
)  # fmt: skip
@click.argument("program", nargs=-1, required=True, metavar="PROGRAM.py|-m MODULE [ARGUMENT]...")
def run(
    ranks: int, recovery: str, launches: int, deadline: float | None, limit_s: float | None, detector: bool,
    trace: bool, trace_limit: int | None, out: str | None, json: str | None, program: tuple[str, ...],
) -> None:  # fmt: skip
    """Run a program that uses faults.recovering, routing or restarting, until its ranks have finished or failed.

    Exit status: 0 it came to its end, 2 bad usage, 3 not recovered, else the program's own, 1 if it failed without one.
    """
    refuse_idle_limit(trace, trace_limit)
    name = program[: 2 if program[0] == "-m" else 1]
    if after := _options_after(click.get_current_context(), program[len(name) :]):
        hint = f"{', '.join(after)} after {' '.join(name)} goes to the program; options of faults run come before it"
        print(f"hint: {hint}", file=sys.stderr)
    screen = console.make_console(stderr=not sys.stdout.isatty())

    def start(traces: Path | None = None, seen: Callable[[dict[str, Any]], object] = lambda record: None) -> int:
        limit = limit_s if detector else 0.0
        with console.progress(screen, None) as ranks_at_work, live.on(ranks_at_work):
            return run_program(program, ranks, recovery, launches, deadline, json, limit, traces, trace_limit, seen)

    if not trace and out is None:
        sys.exit(start())
    check_program(program, trace)  # before there is a folder
    report = Report("program", False, out, None, quiet=True)
    report.screen = screen
    with report.begun(ranks) as folder:
        if trace:
            prepare(folder)
        status = start(folder if trace else None, lambda record: report.save(program=in_result(record)))
        report.add_timeline(folder, "")
        report.show()
    sys.exit(status)


def _options_after(context: click.Context, arguments: Sequence[str]) -> list[str]:
    """Options of this command that stand after the program's name, and so are arguments of the program."""
    ours = {
        name
        for option in context.command.params
        if option.name and context.get_parameter_source(option.name) is ParameterSource.DEFAULT
        for name in (*option.opts, *option.secondary_opts)
    }
    return [name for name in (one.partition("=")[0] for one in arguments) if name in ours]


def in_result(record: dict[str, Any]) -> dict[str, Any]:
    """The program's part of a result: the content of the ``--json`` file, and each recovery in words."""
    return record | {"recoveries": [facts | {"told": in_words(facts)} for facts in record["recoveries"]]}
