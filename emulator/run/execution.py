"""Run a demo on the ranks of a job or a simulation, up to an exit status on which all ranks agree."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mpi4py import MPI

from emulator import carrier, results
from emulator.errors import CheckFailed, UsageError
from emulator.launch import streams
from emulator.run.demo_run import CommonOptions, Run
from emulator.run.interrupts import INTERRUPTED, SaverOnSignal, leave
from emulator.run.launches import check_ranks

if TYPE_CHECKING:
    from emulator.network import Network
    from emulator.sim import SimulatedComm


def execute(
    name: str, needs: int, asked: int | None, common: CommonOptions, body: Callable[[Run], None], why: str = ""
) -> int:
    """Run `body` on every rank and return the exit status; after an error no rank is left waiting."""
    if not MPI.Is_initialized():
        MPI.Init()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # mpirun passes Ctrl-C on as SIGTERM
    size = MPI.COMM_WORLD.Get_size()
    check_ranks(asked, size)
    if size < needs:
        reason = f" ({why})" if why else ""
        raise UsageError(f"demos.{name} needs at least {needs} ranks{reason}, got {size}: give mpirun a larger -n")
    run: Run | None = None
    saver: SaverOnSignal | None = None
    try:
        run = Run(name, common)
        saver = SaverOnSignal(run.folder, run.save_unfinished) if run.rank == 0 else None
        body(run)
        return _finish(run)
    except (UsageError, CheckFailed) as error:
        if run is not None and run.rank == 0:
            run.discard()
        return _end_with_error(error)
    except KeyboardInterrupt:
        leave(saver)
    except Exception:
        traceback.print_exc()
        _abort(1)
        raise


def simulate(
    name: str, needs: int, ranks: int, common: CommonOptions, body: Callable[[Run], None], why: str = ""
) -> int:
    """Run `body` on `ranks` simulated ranks in this process and return the exit status; starts no mpirun."""
    from emulator import sim

    if ranks < needs:
        reason = f" ({why})" if why else ""
        raise UsageError(f"demos.{name} needs at least {needs} ranks{reason}, got --simulate {ranks}: simulate more")
    if not MPI.Is_initialized():
        MPI.Init()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun: list[Run] = []  # rank 0's

    def program(comm: SimulatedComm) -> int:
        run = Run(name, common, comm)
        if run.rank == 0:
            begun.append(run)
        body(run)
        return _finish(run)

    try:
        found = sim.run(program, ranks, sized(common.net, ranks), seed=common.seed, compute=common.compute)
    except (UsageError, CheckFailed):
        for run in begun:
            run.discard()
        raise
    except KeyboardInterrupt:
        return interrupted(begun)
    except Exception:
        traceback.print_exc()
        return 1
    return int(found.results[0])


def sized(net: str | Network | None, ranks: int) -> Network:
    """The network of a simulation; a list of fewer hosts than the ranks need is refused."""
    from emulator.network import load
    from emulator.sim.run import check_memory

    if net is None:
        raise UsageError(f"simulated ranks need a network, got --simulate {ranks} alone: add --net NAME or FILE.toml")
    check_memory(ranks)  # before a network of so many hosts is laid out
    network = (load(net) if isinstance(net, str) else net).sized(ranks)
    hosts, shared = len(network.hosts), network.spec.ranks_per_host
    if network.spec.listed and hosts * max(1, shared) < ranks:
        raise UsageError(
            f"network {network.name} lists hosts for {hosts * max(1, shared)} ranks, got --simulate {ranks}: simulate "
            "fewer, or say in its file how many ranks share a host"
        )
    return network


def interrupted(begun: Sequence[Run]) -> int:
    """Save what a simulation measured before Ctrl-C, print one line, and return the exit status."""
    kept = "nothing was kept"
    for run in begun:
        if run.save_unfinished():
            kept = f"what was measured until then is in {run.folder}"
        else:
            results.discard(run.folder)
    print(f"interrupted: {kept}", file=sys.stderr, flush=True)
    return INTERRUPTED


def _finish(run: Run) -> int:
    """Save and print the result, write its page, and agree on the exit status."""
    fidelity = carrier.of(run.comm).fidelity()
    if fidelity is not None:
        run.result |= {"fidelity": fidelity, "pace": fidelity["pace"]}
    run.end_recording()
    run.on_root(run.save)
    run.show(ended=True)
    run.leave_page()
    if run.unwritten is not None:
        streams.print_error(str(run.unwritten))
    return int(run.control.bcast(1 if run.failures or run.unwritten else 0))


def _end_with_error(error: UsageError | CheckFailed, patience: float = 2.0) -> int:
    """End with one line: rank 0's if every rank came here, else that of the rank that failed."""
    together = MPI.COMM_WORLD.Ibarrier()
    deadline = time.monotonic() + patience
    while not together.Test():
        if time.monotonic() > deadline:
            print(f"error: rank {MPI.COMM_WORLD.Get_rank()}: {error}", file=sys.stderr, flush=True)
            _abort(error.exit_code)
        time.sleep(0.002)
    streams.print_error(str(error))
    return error.exit_code


def _abort(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    MPI.COMM_WORLD.Abort(status)
