"""``python -m emulator search``: run an mpi4py program in many message orders on simulated ranks."""

from __future__ import annotations

import os
import shlex
import sys
import time
from typing import Any

import click

from emulator import results
from emulator.commands.run import ProgramCommand, check
from emulator.run import user_program
from emulator.run.options import common_options

_ENDED_KINDS = 20  # kinds of endings that are told apart; further failures are counted together, and further outputs


@click.command(
    cls=ProgramCommand,
    params=common_options(
        "simulate", "net", "seed", "budget", "out", "json", "quiet", "full",
        simulate={"required": True, "help": "Simulate P ranks."},
        net={"default": "10gbe", "help": "Emulated network, see 'python -m emulator networks'."},
        seed={"help": "Of the first order, and of the program's random numbers."},
        budget={"default": "60", "help": "Wall time to spend: seconds, or a time with its unit."},
    ),
)  # fmt: skip
@click.option("--orders", type=click.IntRange(min=1), default=1000, show_default=True, help="Orders to try.")
@click.option("-m", "module", metavar="MODULE", help="Run a module, as python -m does.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def search(
    simulate: int, net: str, seed: int, budget: float, out: str | None, json: str | None, quiet: bool, full: bool,
    orders: int, module: str | None, arguments: tuple[str, ...],
) -> None:  # fmt: skip
    """Run an mpi4py program in many orders of its messages, and tell how it ends: [-m MODULE | SCRIPT.py] [its
    arguments].

    MPI keeps the order of the messages between two ranks and no other. Each run has an order of its own, drawn by a
    seed: exceptions, deadlocks and outputs that depend on it are told with a seed that shows them again, by
    'python -m emulator run --shuffle SEED'. The status is 1 if a run failed.
    """
    check(module, arguments)
    from emulator.commands import simulated
    from emulator.run.execution import sized
    from emulator.run.interrupts import INTERRUPTED

    network = sized(net, simulate)
    simulated.prepare()
    from emulator.sim.programs.interleavings import endings
    from emulator.sim.programs.program import RankFailed

    json = None if json is None else os.path.abspath(json)  # the program may change the directory
    result, folder = simulated.begin("search", simulate, network, out, json)
    again = ["--simulate", str(simulate), "--net", net, "--compute", "none", *(["--seed", str(seed)] if seed else [])]
    program = ["-m", module, *arguments] if module else [*arguments]
    result |= {"seed": seed, "asked": orders, "again": shlex.join(again), "program": shlex.join(program)}
    kinds: dict[tuple[bool, tuple[str, ...] | None], dict[str, Any]] = {}
    began = time.monotonic()
    try:
        with _progress(quiet, orders) as bar:
            for order, ending in endings(module, arguments, simulate, network, range(seed, seed + orders), _line,
                                         seed=seed):  # fmt: skip
                kind: tuple[bool, tuple[str, ...] | None] = ending.failed, ending.kind
                if kind not in kinds and len(kinds) >= _ENDED_KINDS:
                    kind = ending.failed, None  # of which the first one's text is told
                row = {"text": ending.text, "failed": ending.failed, "times": 0, "first": order}
                kinds.setdefault(kind, row)["times"] += 1
                bar.advance()
                if time.monotonic() - began > budget:
                    break
    except KeyboardInterrupt:
        result["interrupted"] = True
    except BaseException as error:
        results.discard(folder)
        if isinstance(error, RankFailed):  # it does what is not simulated
            sys.exit(simulated.status_of(error))
        raise
    if not kinds:
        results.discard(folder)
        print("interrupted: nothing was kept", file=sys.stderr)
        sys.exit(INTERRUPTED)
    result |= {"endings": sorted(kinds.values(), key=lambda row: (not row["failed"], -row["times"]))}
    result["wall"] = time.monotonic() - began
    from emulator.commands.ending import save_and_show

    save_and_show(result, folder, json, "", quiet, full)
    sys.exit(INTERRUPTED if "interrupted" in result else int(any(row["failed"] for row in kinds.values())))


def _line(error: BaseException) -> str:
    file, _, line = user_program.place(error).removesuffix(": ").rpartition(":")
    return f"{os.path.basename(file)}, line {line}" if file else ""


def _progress(quiet: bool, orders: int) -> Any:
    """Show progress on the terminal itself, because the program's output is captured meanwhile."""
    from emulator.run import console

    return console.progress(None if quiet else console.make_console(file=sys.stdout), orders, "orders")
