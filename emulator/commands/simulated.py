"""``python -m emulator run --simulate P``: any mpi4py program, unchanged, on simulated ranks of one process."""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emulator import results
from emulator.errors import CheckFailed, UsageError
from emulator.launch import mpirun
from emulator.launch.streams import print_error
from emulator.network import Network
from emulator.run import user_program
from emulator.run.execution import sized


def simulate(
    module: str | None, arguments: Sequence[str], ranks: int, net: str, *, compute: str, seed: int,
    shuffle: int | None, out: str | None, json: str | None, trace: bool, trace_limit: int | None, quiet: bool,
    full: bool,
) -> int:  # fmt: skip
    """Run a program on `ranks` simulated ranks, save and print its result, and return the exit status."""
    network = sized(net, ranks)
    prepare()
    from emulator.commands.ending import save_and_show
    from emulator.core import traffic
    from emulator.sim.engine import describe_fidelity
    from emulator.sim.programs.interleavings import shuffled
    from emulator.sim.programs.program import RankFailed, run_program

    network = network if shuffle is None else shuffled(network)
    json = None if json is None else os.path.abspath(json)  # the program may change the directory
    result, folder = begin("run", ranks, network, out, json)
    recorders: dict[int, Any] = {}
    if trace:
        from emulator.trace import folder as traces
        from emulator.trace import tracing

        traces.prepare(folder)

    def begin_rank(comm: Any) -> None:
        if trace:
            recorders[comm.Get_rank()] = tracing.begin(comm, folder, limit=trace_limit, clock="simulated")

    def end_rank(comm: Any) -> tuple[traffic.Row, int, bool]:
        engine = comm.engine
        if trace:
            tracing.end(comm, recorders[comm.Get_rank()])
        return traffic.of_rank(engine.clock.t, engine.routes), engine.inversions(), engine.exact

    began = time.perf_counter()
    try:
        rows = run_program(
            module, arguments, ranks, network, seed=seed, order=shuffle, compute=compute, begin=begin_rank, end=end_rank
        ).results  # fmt: skip
    except BaseException as error:
        results.discard(folder)
        if isinstance(error, RankFailed):
            return status_of(error)
        raise
    wall = time.perf_counter() - began
    result["traffic"] = traffic.total(network, [row[0] for row in rows]).describe(network)
    result["fidelity"] = describe_fidelity(sum(row[1] for row in rows), exact=rows[0][2])
    if trace:
        result["timeline"] = traces.conclude(folder)
    save_and_show(
        result, folder, json, f"simulated {result['traffic']['seconds']:.6g} s, wall {wall:.3g} s", quiet, full
    )
    return 0


def prepare() -> None:
    """Prepare this process to simulate ranks: start MPI, and refuse by name what is not simulated."""
    from mpi4py import MPI

    from emulator.comm import algorithms, refused

    if not MPI.Is_initialized():
        MPI.Init()
    algorithms.find()
    refused.refuse_in_program()


def begin(
    name: str, ranks: int, network: Network, out: str | None, json: str | None
) -> tuple[dict[str, Any], Path]:  # fmt: skip
    """Make the run folder and the result of a simulated program, without its figures."""
    from mpi4py import MPI

    results.check_writable(json)
    result = results.new(
        name, ["python", *mpirun.this_program()], ranks=ranks, hosts=[MPI.Get_processor_name()] * ranks,
        clock="simulated", network=network.describe(),
    )  # fmt: skip
    return result, results.run_folder(name, out).resolve()


def status_of(failure: Any) -> int:
    """Print why the job has ended, as `emulator.run.user_program` does on a rank of MPI; returns the exit status."""
    cause = failure.cause
    if isinstance(cause, SystemExit):
        if cause.code is not None and not isinstance(cause.code, int):
            print(cause.code, file=sys.stderr)
        return cause.code if isinstance(cause.code, int) else 1
    if isinstance(cause, UsageError | CheckFailed):
        print_error(f"{user_program.place(cause)}rank {failure.rank}: {cause}")
        _drop(cause)
        return cause.exit_code
    print(f"rank {failure.rank}:", file=sys.stderr)
    traceback.print_exception(user_program.without_ours(cause))
    return 1


def _drop(cause: BaseException) -> None:
    """Delete what the program was constructing when it was refused, because a half-made event loop (asyncio) warns."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings(action="ignore"):
            traceback.clear_frames(cause.__traceback__)
            gc.collect()
    finally:
        sys.unraisablehook = before
