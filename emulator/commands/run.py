"""``python -m emulator run``: any mpi4py program, unchanged, on an emulated cluster.

What such a program meets: ``MPI.COMM_WORLD`` is emulated, and ``MPI.Wtime`` reads the emulated clock. Everything
else in Python that tells time (``time.perf_counter``, say) reads the wall, which runs ``pace`` times slower than
emulated time on a paced run, and has no relation to it without pacing. ``MPI.COMM_SELF`` stays what it is. A rank's
clock starts with its first call, so that what it imports before takes no emulated time.
"""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.run.options import PACE, OneLineCommand, relaunch

_FLAGS = ("--quiet", "--help", "-h")
_JOINED = re.compile("-n.")  # -n4, an option with its value


class _Program(OneLineCommand):
    """Everything behind ``-m MODULE`` belongs to the program, as with python itself."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = 0
        while place < len(args) and args[place].startswith("-"):
            if args[place] == "-m":
                args = [*args[: place + 2], "--", *args[place + 2 :]]
                break
            alone = args[place] in _FLAGS or "=" in args[place] or _JOINED.match(args[place])
            place += 1 if alone else 2
        return super().parse_args(ctx, args)


@click.command(cls=_Program, context_settings={"allow_interspersed_args": False})
@click.option("-n", "launch_ranks", type=click.IntRange(min=1), metavar="N", help="Start mpirun with N ranks.")
@click.option("--net", required=True, metavar="NAME|FILE.toml", help="The network: see 'python -m emulator networks'.")
@click.option(
    "--pace",
    type=PACE,
    default="none",
    metavar="auto|none|K",
    show_default=True,
    help="Wall seconds per emulated second; none holds nothing back.",
)
@click.option(
    "--compute",
    type=click.Choice(["measured", "none"]),
    default="measured",
    show_default=True,
    help="Whether a rank's own CPU time advances the emulated clock.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of jitter and loss.")
@click.option("--out", metavar="DIR", help="Run folder; absent: runs/run/<UTC time>.")
@click.option("--json", "json_file", metavar="FILE", help="Write the result to this file as well.")
@click.option("--quiet", is_flag=True, help="Print nothing but what the program prints.")
@click.option("-m", "module", metavar="MODULE", help="Run a module, as python -m does.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(
    launch_ranks: int | None, net: str, pace: float | str, compute: str, seed: int, out: str | None,
    json_file: str | None, quiet: bool, module: str | None, arguments: tuple[str, ...],
) -> None:  # fmt: skip
    """Run an mpi4py program, unchanged, over an emulated network: [-m MODULE | SCRIPT.py] [its arguments]."""
    if module is None and not arguments:
        raise UsageError("a program is needed, got none: name a script.py, or a module with -m")
    if module is None and not os.path.isfile(arguments[0]):
        raise UsageError(f"a program is a Python file, or a module with -m, found no file {arguments[0]!r}")
    if module is not None and not _exists(module):
        raise UsageError(f"-m names a module that can be imported from here, found none called {module!r}")
    if launch_ranks is not None and not mpirun.inside():
        sys.exit(relaunch(launch_ranks))
    from mpi4py import MPI

    import emulator
    from emulator.comm import algorithms

    if launch_ranks not in (None, MPI.COMM_WORLD.Get_size()):
        raise UsageError(
            f"-n starts a job from outside mpirun; this one already has {MPI.COMM_WORLD.Get_size()} ranks, -n says "
            f"{launch_ranks}: leave one of them out"
        )
    comm = emulator.emulate(MPI.COMM_WORLD, net, pace=pace, compute=compute, seed=seed)
    _disguise(MPI, comm)
    # Now, because the program's folder takes the place of ours on sys.path.
    algorithms.find()
    if comm.notice and comm.rank == 0:
        print(f"note: {comm.notice}", file=sys.stderr, flush=True)
    if json_file is not None:
        json_file = os.path.abspath(json_file)  # the program may go elsewhere
    folder, result = _begin(comm, pace, out, json_file)
    comm.engine.clock.pause()
    _execute(comm, module, list(arguments))
    _report(comm, folder, result, json_file, quiet)


def _exists(module: str) -> bool:
    """Whether there is a module of that name, without running it."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a package above it is missing, or is none
        return False


def _disguise(mpi: Any, comm: Any) -> None:
    """Make the module look as if the emulated cluster was the only one."""
    mpi.COMM_WORLD = comm
    mpi.Wtime = comm.now
    # MPI is up already, and must stay up until the traffic is added up.
    mpi.Init = mpi.Finalize = lambda: None
    mpi.Init_thread = lambda required=mpi.THREAD_MULTIPLE: mpi.Query_thread()


def _execute(comm: Any, module: str | None, arguments: list[str]) -> None:
    """Run the program; if it fails on one rank, the job ends, instead of waiting for that rank."""
    try:
        if module is not None:
            sys.argv = [module, *arguments]
            sys.path[0] = os.getcwd()
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path[0] = os.path.dirname(os.path.realpath(arguments[0]))
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            if not isinstance(end.code, int):
                print(end.code, file=sys.stderr)
            _leave(end.code if isinstance(end.code, int) else 1)
    except UsageError as error:
        # Something that is not emulated: where it was asked for matters more than how it was refused.
        frame = next((one for one in reversed(traceback.extract_tb(error.__traceback__)) if not _ours(one)), None)
        place = f"{frame.filename}:{frame.lineno}: " if frame else ""
        if comm.engine.board.claim():  # the others have the same to say
            print(f"error: {place}{error}", file=sys.stderr)
        _leave(error.exit_code)
    except BaseException:
        traceback.print_exc()
        _leave(1)


def _ours(frame: traceback.FrameSummary) -> bool:
    return Path(__file__).resolve().parents[1] in Path(frame.filename).resolve().parents


def _leave(status: int) -> None:
    """End this rank at once; mpirun ends the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _begin(comm: Any, pace: float | str, out: str | None, json_file: str | None) -> tuple[Path | None, dict[str, Any]]:
    """Make run folder and result on rank 0, before the program; what is wrong with them is everybody's error."""
    folder, result, problem = None, {}, None
    hosts = comm._real.gather(_host_name())
    if comm.rank == 0:
        from emulator import results

        try:
            results.check_writable(json_file)
            folder = results.run_folder("run", out).resolve()
            result = results.new(
                "run", ["python", *mpirun.this_program()], ranks=comm.size, hosts=hosts, clock="emulated", pace=pace,
                network=comm.engine.network.describe(),
            )  # fmt: skip
        except UsageError as error:
            problem = error
    problem = comm._real.bcast(problem)
    if problem is not None:
        raise problem
    return folder, result


def _host_name() -> str:
    from mpi4py import MPI

    return MPI.Get_processor_name()


def _report(comm: Any, folder: Path | None, result: dict[str, Any], json_file: str | None, quiet: bool) -> None:
    """Save on rank 0, and print there, what the run took and what the network carried."""
    traffic = comm.traffic()
    fidelity = comm.fidelity()
    if folder is None:
        return
    from emulator import results

    result |= {"traffic": traffic.describe(comm.engine.network), "fidelity": fidelity, "pace": fidelity["pace"]}
    path = folder / results.RESULT
    unwritten = results.keep(result, path, json_file)
    if not quiet:
        from emulator.report import terminal
        from emulator.report.views import view
        from emulator.run.console import outlasting

        console = outlasting()
        console.print()
        terminal.show(view(results.plain(result)), console)
        if unwritten is None:
            console.print(f"[dim]result: {path}[/]")
    if unwritten is not None:
        raise unwritten
