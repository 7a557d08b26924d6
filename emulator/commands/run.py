"""``python -m emulator run``: any mpi4py program, unchanged, on an emulated cluster.

For the program, ``MPI.COMM_WORLD`` is emulated, and ``MPI.Wtime`` reads the emulated clock. Every other clock of
Python (``time.perf_counter``, say) reads the wall, which runs ``pace`` times slower than
emulated time on a paced run, and has no relation to it without pacing. ``MPI.COMM_SELF`` stays what it is. A rank's
clock starts with its first call, so that what it imports before takes no emulated time.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emulator import results
from emulator.errors import CheckFailed, UsageError, on_root
from emulator.launch import mpirun
from emulator.launch.job import inside
from emulator.launch.streams import print_error
from emulator.run import user_program
from emulator.run.launches import check_ranks
from emulator.run.one_line import OneLineCommand
from emulator.run.options import common_options, refuse_beside_simulate, refuse_idle, relaunch

if TYPE_CHECKING:
    from emulator.commands.ending import Ending
    from emulator.run.stall import StallWatch
    from emulator.trace.recorder import Recorder

_FLAGS = ("--quiet", "--full", "--trace", "--help", "-h")
_JOINED = re.compile("-n.")  # -n4, an option with its value


class ProgramCommand(OneLineCommand):
    """A command in which everything after ``-m MODULE`` belongs to the program, as in Python itself."""

    allow_interspersed_args = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = 0
        while place < len(args) and args[place].startswith("-"):
            if args[place] == "-m":
                args = [*args[: place + 2], "--", *args[place + 2 :]]
                break
            alone = args[place] in _FLAGS or "=" in args[place] or _JOINED.match(args[place])
            place += 1 if alone else 2
        return super().parse_args(ctx, args)


@click.command(
    cls=ProgramCommand,
    params=common_options(
        "-n", "net", "pace", "simulate", "compute", "seed", "out", "json", "trace", "trace-limit", "quiet", "full",
        net={"help": "Emulated network (see 'python -m emulator networks'); absent, with --trace: MPI as it is."},
        compute={"default": "measured"},
        quiet={"help": "Print nothing but what the program prints."},
    ),
)  # fmt: skip
@click.option(
    "--shuffle",
    type=click.IntRange(min=0),
    metavar="SEED",
    help="With --simulate: another order of the messages (see 'python -m emulator search').",
)
@click.option("-m", "module", metavar="MODULE", help="Run a module, as python -m does.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(
    launch_ranks: int | None, net: str | None, pace: float | str, simulate: int | None, compute: str, seed: int,
    out: str | None, json: str | None, trace: bool, trace_limit: int | None, quiet: bool, full: bool,
    shuffle: int | None, module: str | None, arguments: tuple[str, ...],
) -> None:  # fmt: skip
    """Run an mpi4py program, unchanged, over an emulated network: [-m MODULE | SCRIPT.py] [its arguments].

    With --trace and without --net it runs on MPI itself, and what its ranks do is recorded on the wall clock. With
    --simulate it runs on simulated ranks, each with modules and random numbers of its own.
    """
    if net is None and not trace:
        raise UsageError(
            "give --net (an emulated network, such as --net 10gbe) or --trace (record on MPI itself), got neither"
        )
    refuse_idle(net)
    check(module, arguments)
    if simulate is not None:
        refuse_beside_simulate("launch_ranks", "pace")
        if net is None:
            raise UsageError(f"simulated ranks need a network, got --simulate {simulate} alone: add --net NAME")
        from emulator.commands import simulated

        sys.exit(simulated.simulate(
            module, arguments, simulate, net, compute=compute, seed=seed, shuffle=shuffle, out=out, json=json,
            trace=trace, trace_limit=trace_limit, quiet=quiet, full=full,
        ))  # fmt: skip
    if shuffle is not None:
        raise UsageError(
            f"--shuffle is for simulated ranks, got --shuffle {shuffle} without --simulate: add --simulate P"
        )
    if not inside():
        if launch_ranks is None:
            raise UsageError("a job needs ranks, got no -n outside of mpirun: add -n 4, or start it with mpirun -n 4")
        sys.exit(relaunch(launch_ranks))
    from mpi4py import MPI

    from emulator.commands.ending import Ending
    from emulator.control import Control
    from emulator.run.console import make_console
    from emulator.run.interrupts import SaverOnSignal, leave
    from emulator.run.stall import StallWatch

    check_ranks(launch_ranks, MPI.COMM_WORLD.Get_size())
    control = Control.beside(MPI.COMM_WORLD)
    comm = _world(net, pace, compute, seed)
    engine = None if net is None else comm.engine
    json = None if json is None else os.path.abspath(json)  # the program may change the directory
    hosts = control.gather(MPI.Get_processor_name())
    about = {"clock": "wall"} if engine is None else {
        "clock": "emulated", "pace": pace, "network": engine.network.describe(),
    }  # fmt: skip
    result = on_root(control, lambda: _begin(control.size, hosts, json, about))
    folder = on_root(control, lambda: results.run_folder("run", out).resolve())
    recorder = _recording(comm, control, folder, trace_limit, about["clock"]) if trace else None
    ending = Ending(control, engine)
    stalls = StallWatch(comm, control, None if quiet or control.rank else make_console(stderr=True))
    # At exit, because a program may end other ranks from an exit handler of its own, which runs before this one.
    atexit.register(_close, stalls, ending, engine, recorder, folder, result, json, quiet, full)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # mpirun passes Ctrl-C on as SIGTERM
    saver = SaverOnSignal(folder, lambda: False) if control.rank == 0 else None
    if engine is not None:
        engine.clock.pause()
    first = (lambda: control.rank == 0) if engine is None else engine.shared.is_first_to_ask
    try:
        user_program.execute(first, module, list(arguments))
    except KeyboardInterrupt:
        leave(saver)


def check(module: str | None, arguments: Sequence[str]) -> None:
    """Refuse a program that does not exist."""
    if module is None and not arguments:
        raise UsageError("a program is needed, got none: name a script.py, or a module with -m")
    if module is None and not os.path.isfile(arguments[0]):
        raise UsageError(f"a program is a Python file, or a module with -m, found no file {arguments[0]!r}")
    if module is not None and not user_program.exists(module):
        raise UsageError(f"-m names a module that can be imported from here, found none called {module!r}")


def _world(net: str | None, pace: float | str, compute: str, seed: int) -> Any:
    """Replace COMM_WORLD for the program by an emulated communicator, or by one that records its events."""
    from mpi4py import MPI

    if net is None:
        from emulator.trace import traced_mpi

        comm: Any = traced_mpi.traced(MPI.COMM_WORLD.Dup())
        user_program.replace_world(MPI, comm)
        return comm
    from emulator.wire.emulate import emulate

    comm = emulate(MPI.COMM_WORLD, net, pace=pace, compute=compute, seed=seed)
    user_program.emulate_world(MPI, comm)
    if comm.notice and comm.rank == 0:
        print(f"note: {comm.notice}", file=sys.stderr, flush=True)
    return comm


def _begin(ranks: int, hosts: list[str] | None, json: str | None, about: dict[str, Any]) -> dict[str, Any]:
    """Begin the result, on rank 0, before the program starts."""
    results.check_writable(json)
    return results.new("run", mpirun.this_job(ranks), ranks=ranks, hosts=hosts, **about)


def _recording(comm: Any, control: Any, folder: Path, limit: int | None, clock: str) -> Recorder:
    """Begin to record what this rank does."""
    from emulator.trace import folder as traces
    from emulator.trace import tracing

    on_root(control, lambda: traces.prepare(folder))
    return tracing.begin(comm, folder, limit=limit, clock=clock)


def _close(
    stalls: StallWatch, ending: Ending, engine: Any, recorder: Recorder | None, folder: Path, result: dict[str, Any],
    json: str | None, quiet: bool, full: bool,
) -> None:  # fmt: skip
    """Report at exit; if that fails, set the exit status, which an exception in an exit handler would not."""
    from emulator.commands.ending import save_and_show

    try:
        if recorder is not None:
            recorder.close()
        for rows in ending.rows():
            result |= ending.describe(rows)
            if recorder is not None:
                from emulator.trace.folder import conclude

                result["timeline"] = conclude(folder)
            save_and_show(result, folder, json, _unpaced(engine, ending, result), quiet, full)
        stalls.stop()
    except (UsageError, CheckFailed) as error:
        print_error(str(error))
        user_program.leave(error.exit_code)
    except BaseException:
        traceback.print_exc()
        user_program.leave(1)


def _unpaced(engine: Any, ending: Ending, result: dict[str, Any]) -> str:
    """A line on the emulated and wall time of an unpaced run, and which clocks read which; else ""."""
    if engine is None or engine.pacer.pace:
        return ""
    return (
        f"emulated {result['traffic']['seconds']:.6g} s, wall {ending.wall():.3g} s: without pacing only MPI.Wtime "
        "reads emulated time; what the program times with time.perf_counter or time.time is the wall's"
    )
