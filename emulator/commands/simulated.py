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
from emulator.commands import program
from emulator.errors import CheckFailed, UsageError
from emulator.launch import mpirun
from emulator.launch.streams import print_error
from emulator.network import Network
from emulator.run.execution import sized


def simulate(
    module: str | None, arguments: Sequence[str], ranks: int, net: str, *, compute: str, seed: int,
    shuffle: int | None, out: str | None, json: str | None, trace: bool, trace_limit: int | None, quiet: bool,
    full: bool,
) -> int:  # fmt: skip
    """Run a program on so many simulated ranks, save and print what it took, and return the exit status."""
    network = sized(net, ranks)
    prepare()
    from emulator.commands.ending import save_and_show
    from emulator.sim.programs.interleavings import shuffled
    from emulator.sim.programs.program import RankFailed

    network = network if shuffle is None else shuffled(network)
    json = None if json is None else os.path.abspath(json)  # the program may change the directory
    result, folder = begin("run", ranks, network, out, json)
    traced = _Traced(folder, trace_limit) if trace else None
    began = time.perf_counter()
    try:
        rows = _rows(module, arguments, ranks, network, seed, shuffle, compute, traced)
    except RankFailed as failure:
        results.discard(folder)
        return status_of(failure)
    except BaseException:
        results.discard(folder)
        raise
    wall = time.perf_counter() - began
    result |= _figures(network, rows)
    if traced is not None:
        result["timeline"] = traced.conclude()
    save_and_show(
        result, folder, json, f"simulated {result['traffic']['seconds']:.6g} s, wall {wall:.3g} s", quiet, full
    )
    return 0


def prepare() -> None:
    """Let this process simulate ranks: MPI is started, and what is not simulated is refused by name."""
    from mpi4py import MPI

    from emulator.comm import algorithms, refused

    if not MPI.Is_initialized():
        MPI.Init()
    algorithms.find()
    refused.refuse_in_program()


def begin(
    name: str, ranks: int, network: Network, out: str | None, json: str | None
) -> tuple[dict[str, Any], Path]:  # fmt: skip
    """Give the result of a command that simulates a program, without its figures, and the run's folder."""
    from mpi4py import MPI

    results.check_writable(json)
    result = results.new(
        name, ["python", *mpirun.this_program()], ranks=ranks, hosts=[MPI.Get_processor_name()] * ranks,
        clock="simulated", network=network.describe(),
    )  # fmt: skip
    return result, results.run_folder(name, out).resolve()


class _Traced:
    """The recording of all ranks, with --trace."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        from emulator.trace.folder import prepare

        self._folder, self._limit = folder, limit
        self._recorders: dict[int, Any] = {}
        prepare(folder)

    def begin(self, comm: Any) -> None:
        from emulator.trace import tracing

        self._recorders[comm.Get_rank()] = tracing.begin(comm, self._folder, limit=self._limit, clock="simulated")

    def end(self, comm: Any) -> None:
        from emulator.trace import tracing

        tracing.end(comm, self._recorders[comm.Get_rank()])

    def conclude(self) -> Any:
        from emulator.trace.folder import conclude

        return conclude(self._folder)


def _rows(
    module: str | None, arguments: Sequence[str], ranks: int, network: Network, seed: int, order: int | None,
    compute: str, traced: _Traced | None,
) -> list[Any]:  # fmt: skip
    """Run the program; gives each rank's traffic and inversions."""
    from emulator.core import traffic
    from emulator.sim.programs.program import run_program

    def end(comm: Any) -> Any:
        engine = comm.engine
        if traced is not None:
            traced.end(comm)
        return traffic.of_rank(engine.clock.t, engine.routes), engine.inversions(), engine.exact

    first = (lambda comm: None) if traced is None else traced.begin
    return run_program(
        module, arguments, ranks, network, seed=seed, order=order, compute=compute, begin=first, end=end
    ).results  # fmt: skip


def _figures(network: Network, rows: list[Any]) -> dict[str, Any]:
    """Give the fields of the result that the ranks' rows make up."""
    from emulator.core import traffic
    from emulator.sim.engine import describe_fidelity

    total = traffic.total(network, [row[0] for row in rows])
    return {
        "traffic": total.describe(network),
        "fidelity": describe_fidelity(sum(row[1] for row in rows), exact=rows[0][2]),
    }


def status_of(failure: Any) -> int:
    """Print why the job has ended, as `emulator.commands.program` does for a rank of MPI; gives the exit status."""
    cause = failure.cause
    if isinstance(cause, SystemExit):
        if cause.code is not None and not isinstance(cause.code, int):
            print(cause.code, file=sys.stderr)
        return cause.code if isinstance(cause.code, int) else 1
    if isinstance(cause, UsageError | CheckFailed):
        print_error(f"{program.place(cause)}rank {failure.rank}: {cause}")
        _drop(cause)
        return cause.exit_code
    print(f"rank {failure.rank}:", file=sys.stderr)
    traceback.print_exception(program.without_ours(cause))
    return 1


def _drop(cause: BaseException) -> None:
    """Delete what the program was making when it was refused: a half-made event loop complains of it (asyncio)."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings(action="ignore"):
            traceback.clear_frames(cause.__traceback__)
            gc.collect()
    finally:
        sys.unraisablehook = before
