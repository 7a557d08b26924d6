"""Cuts, losses and slow cards on an emulated network: what each rank does about such a fault.

Every rank concerned changes its own side at its own step; the effect is a function of emulated time. A cut heals by
itself, and one with a factor N cuts and heals N times within its duration (flapping).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from mpi4py import MPI

import emulator
import emulator.carrier
from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext
from faults.inject.injector import Handler
from faults.plan.model import Event
from faults.recover.user_loop.program_failure import end_cut_off


def job_comm(spec: JobSpec, drill: DrillContext) -> MPI.Intracomm:
    """The communicator for the job's messages: bare MPI, or an emulated network that faults can change."""
    if spec.net is None:
        return _listened_to(_recorded(MPI.COMM_WORLD, spec, drill), drill)
    comm = drill.platform.world
    if comm is None:
        comm = emulator.emulate(MPI.COMM_WORLD, spec.net, pace=spec.pace, compute="measured", seed=spec.seed)
    pace = 1.0 if spec.simulate else spec.pace  # a simulated rank's clock is the emulated one
    limit_s = (spec.quorum_s or 0.0) * (pace if isinstance(pace, float) else 0.0)

    def stop(event: Event) -> None:
        drill.platform.clock.sleep(limit_s)  # in which the network might have healed
        end_cut_off(drill, event.when.step, event.others if event.rank in event.side else event.side)

    faults = NetworkFaults(comm, stop)
    drill.network_faults = faults
    if drill.injector is not None:
        drill.injector.handle(faults.handlers(), instead_of=("slow",))  # a rank is slow in emulated time here
    return _listened_to(_recorded(comm, spec, drill), drill)


def _recorded(comm: MPI.Intracomm, spec: JobSpec, drill: DrillContext) -> MPI.Intracomm:
    """The communicator, or in a traced job one that records messages, phases and faults."""
    if drill.traces is None:
        return comm
    from emulator.trace import traced_mpi, tracing

    clock = "simulated" if spec.simulate else "wall" if spec.net is None else "emulated"
    if spec.net is None:
        mine = comm.Get_rank()
        comm = traced_mpi.traced(comm, members=[drill.member + rank - mine for rank in range(comm.Get_size())])
    drill.recorder = tracing.begin(
        comm, drill.traces, limit=spec.trace_limit, clock=clock, member=drill.member, attempt=spec.attempt
    )
    return comm


def _listened_to(comm: MPI.Intracomm, drill: DrillContext) -> MPI.Intracomm:
    """Return the communicator, after adding the injector to its instruments, all of which are told of faults."""
    if drill.injector is not None:
        drill.injector.instruments = instruments = emulator.carrier.of(comm).instruments
        instruments.append(drill.injector)
    return comm


class NetworkFaults:
    """The network faults of one rank; `tick` ends those that are over.

    Parameters
    ----------
    comm : an emulated communicator over all ranks
    stop : ends this rank, which has no quorum
    """

    def __init__(self, comm: Any, stop: Handler) -> None:
        self._stop = stop
        self._comm, self._state = comm, comm.network_state
        self._holders: Mapping[int, int] = dict(enumerate(comm.members))
        self._ends: list[tuple[float, Callable[[], None]]] = []  # when a change is over, and what undoes it

    def handlers(self) -> dict[str, Handler]:
        """Map each kind of fault to the method that the injector calls."""
        return {"cut": self._cut, "cut-off": self._stop, "lose": self._lose, "slow": self._slow}

    def now(self) -> float:
        """Emulated time in seconds."""
        return float(self._comm.now())

    def tick(self) -> None:
        """End the faults that are over in emulated time."""
        now = self.now()
        for end in [e for e in self._ends if e[0] <= now]:
            self._ends.remove(end)
            end[1]()

    def placed(self, holders: Mapping[int, int]) -> None:
        """Note which rank of the network holds each place, by which faults name ranks."""
        self._state.members = self._holders = holders

    def _cut(self, event: Event) -> None:
        sides = [[place for place in side if place in self._holders] for side in (event.side, event.others)]
        begin, duration = self.now(), event.duration_s or 0.0
        times = int(event.factor or 1)
        half = duration / (2 * times - 1)  # cut, whole, cut, ..., cut
        windows = [(begin + 2 * k * half, begin + (2 * k + 1) * half) for k in range(times)]
        self._state.cut_at(*sides, windows)

    def _lose(self, event: Event) -> None:
        factor = float(event.factor or 0.0)
        if event.nic:
            self._state.weaken(1.0 / factor)
            self._undo_after(event, lambda: self._state.weaken(1.0))
        else:
            self._state.lose(factor)
            self._undo_after(event, lambda: self._state.lose(0.0))

    def _slow(self, event: Event) -> None:
        self._state.slow(float(event.factor or 1.0))
        self._undo_after(event, lambda: self._state.slow(1.0))

    def _undo_after(self, event: Event, undo: Callable[[], None]) -> None:
        if event.duration_s is not None and math.isfinite(event.duration_s):
            self._ends.append((self.now() + event.duration_s, undo))
