"""SimulatedComm: the emulated communicator over ranks of one process, and its carrier."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from emulator import carrier
from emulator.comm.carrier import EmulatedCarrier
from emulator.comm.members import Members
from emulator.core.instruments import Wait
from emulator.sim.collectives import lockstep
from emulator.sim.connection import meet
from emulator.sim.engine import SimulatedEngine
from emulator.sim.simple_messages import PlainCalls


class SimulatedCarrier(EmulatedCarrier):
    """The carrier of simulated ranks: a rank that waits lets others run; see `emulator.carrier.Carrier`."""

    comm: SimulatedComm

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self.comm.engine.exact

    @property
    def finds_first(self) -> bool:  # type: ignore[override]
        return not self.comm.engine.dead  # MPI refuses to receive from MPI.ANY_SOURCE once a process has died

    def advance(self, t: float) -> None:
        super().advance(t)
        self.comm.engine.hold(t)

    def run(self, collective: Any) -> None:
        if not lockstep.applies(self.comm, collective) or not lockstep.run(self.comm, collective):
            super().run(collective)

    def wait_until(
        self,
        ready: Callable[[], bool],
        deadline: float = math.inf,
        patience_s: float = math.inf,
        longest_s: float = carrier.LONGEST_NAP_S,
    ) -> bool:
        engine = self.comm.engine
        end = min(deadline, engine.loop.now + patience_s)
        waits = engine.waits
        while not ready():
            if engine.loop.now >= end:
                return False
            if engine.waits == waits:  # else others have run within `ready`: look again at what has come since
                engine.pass_time(end)
            waits = engine.waits
        return True


class SimulatedComm(PlainCalls):
    """A communicator of simulated ranks with the methods of `EmulatedComm`; made by `emulator.sim.run`."""

    engine: SimulatedEngine

    def _make_carrier(self) -> EmulatedCarrier:
        return SimulatedCarrier(self, self.engine.instruments)

    def _find_members(self) -> Members:
        return self._real.shared.members  # type: ignore[attr-defined]

    def raise_error(self, code: int) -> None:
        engine = self.engine
        if engine.dead:  # no message says when: the news of a death may have ended the wait
            engine.wait_until(engine.loop.now, Wait.POLL)
        super().raise_error(code)

    @property
    def native(self) -> MPI.Intracomm:
        return self._real.alone  # type: ignore[attr-defined]

    def Accept(self, port_name: str, info: MPI.Info = MPI.INFO_NULL, root: int = 0) -> Any:
        """Wait for ranks that were started later and given this port (`Failures.open_port`), if there are any."""
        if not self.engine.failures.ports:
            return super().Accept(port_name, info, root)
        return meet(self, port_name, root, accepts=True)

    def Connect(self, port_name: str, info: MPI.Info = MPI.INFO_NULL, root: int = 0) -> Any:
        """Wait for the ranks that accept at this port."""
        if not self.engine.failures.ports:
            return super().Connect(port_name, info, root)
        return meet(self, port_name, root, accepts=False)

    def __repr__(self) -> str:
        return f"<SimulatedComm rank {self._rank} of {self._size} on {self.engine.network.name}>"
