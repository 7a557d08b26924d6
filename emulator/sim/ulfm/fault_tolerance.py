"""ULFM's calls on the control plane of simulated ranks: revoke, acknowledge, agree, shrink.

An agreement is complete when all members that are not known to be dead have entered it, and takes what `FailureCosts`
says. It has the bitwise AND of all values; where a rank had not acknowledged a death by then, it raises on all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import and_
from typing import Any

from mpi4py import MPI

from emulator.core.instruments import Wait
from emulator.sim.failures import Failures
from emulator.sim.groups import SimulatedGroup
from emulator.sim.joint import JointCall, JointRequest


class SurvivorCall(JointCall):
    """A collective call of those members of a communicator that are not known to be dead.

    Attributes
    ----------
    values : by rank of the engine, of those that have entered
    """

    purpose = "in an agreement of the survivors"

    def __init__(self, failures: Failures, members: Any, conclude: Callable[[SurvivorCall], float]) -> None:
        self.failures, self.members, self._conclude = failures, members, conclude
        self.values: dict[int, Any] = {}
        self._settled = False
        failures.on_known.append(self.look)

    @property
    def missing(self) -> list[int]:
        known = self.failures.known
        return [rank for rank in self.members.ranks if rank not in self.values and rank not in known]

    def enter(self, rank: int, value: Any) -> None:
        """Register a rank's value."""
        self.values[rank] = value
        self.look()

    def look(self) -> None:
        """Schedule the end of the call once every member that is not known to be dead has entered."""
        if not self._settled and self.values and not self.missing:
            self._settled = True
            self.failures.on_known.remove(self.look)
            self.failures.at(self.failures.now + self._conclude(self), self._finish)

    def _finish(self) -> None:
        self.complete = True
        self.failures.wake(self.values)


class AgreementRequest(JointRequest):
    """The request of `Iagree`; its buffer gets the agreed value even if it raises."""

    def __init__(self, control: FaultTolerance, call: SurvivorCall, buffer: Any) -> None:
        super().__init__(control.engine, call)
        self._buffer = buffer

    def _end(self) -> bool:
        self._engine.wait_until(self._engine.loop.now, Wait.POLL)
        self._buffer[0] = self._call.result
        return super()._end()


class FaultTolerance:
    """The methods of a control plane that work when ranks die."""

    shared: Any
    rank: int
    engine: Any

    def _begin_tolerance(self) -> None:
        self._survived = 0
        self._acknowledged: set[int] = set()

    @property
    def _failures(self) -> Failures:
        return self.engine.failures

    def _known(self) -> list[int]:
        """Members known to be dead, in the order in which this became known."""
        members = self.shared.members.among(self.engine.dead)
        return [rank for rank in self._failures.known if rank in members]

    def Revoke(self) -> None:
        shared, failures = self.shared, self._failures
        if self.engine.rank in shared.revoked:
            return
        first = not shared.revoked
        shared.revoked.add(self.engine.rank)
        self.engine.quick = False
        if first:
            failures.at(failures.now + failures.costs.revoke_s, self._revoked_everywhere)

    def _revoked_everywhere(self) -> None:
        self.shared.revoked.update(self.shared.ranks)
        for rank in self.shared.ranks:
            self._failures.engines[rank].quick = False
        self._failures.wake(self.shared.ranks)

    def Is_revoked(self) -> bool:
        return self.engine.rank in self.shared.revoked

    def Ack_failed(self, num_to_ack: int | None = None) -> int:
        known = self._known()
        self._acknowledged.update(known[:num_to_ack])
        return len(known[:num_to_ack])

    def Get_failed(self) -> SimulatedGroup:
        return SimulatedGroup(tuple(self._known()), self.engine.rank)

    def _enter(self, value: Any, conclude: Callable[[SurvivorCall], float]) -> SurvivorCall:
        """Enter the survivors' next call; the first rank to do so defines how it is concluded."""
        key = ("survivors", self._survived)
        self._survived += 1
        call = self.shared.under_way.get(key)
        if call is None:
            call = self.shared.under_way[key] = SurvivorCall(self._failures, self.shared.members, conclude)
        call.enter(self.engine.rank, value)
        if not call.missing:
            self.shared.under_way.pop(key, None)
        return call

    def Iagree(self, buf: Any) -> AgreementRequest:
        return AgreementRequest(self, self._enter((int(buf[0]), set(self._acknowledged)), self._agreed), buf)

    def _agreed(self, call: SurvivorCall) -> float:
        dead, costs = set(self._known()), self._failures.costs
        call.result = reduce(and_, (value for value, _ in call.values.values()))
        if any(dead - known for rank, (_, known) in call.values.items() if rank not in dead):
            call.error = MPI.ERR_PROC_FAILED
        return costs.agree_s if dead else costs.calm_agree_s

    def Agree(self, flag: int) -> int:
        buffer = [flag]
        self.Iagree(buffer).Wait()
        return buffer[0]

    def Shrink(self) -> Any:
        call = self._enter(None, self._shrunk)
        self.engine.wait(call)
        self.engine.wait_until(self.engine.loop.now, Wait.POLL)
        shared = call.result
        return type(self)(shared, shared.members.place(self.engine.rank), self.engine)  # type: ignore[call-arg]

    def _shrunk(self, call: SurvivorCall) -> float:
        dead = set(self._known())
        call.result = type(self.shared)([rank for rank in self.shared.ranks if rank not in dead])
        return self._failures.costs.shrink_s
