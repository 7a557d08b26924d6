"""Connect two groups of simulated ranks: `Accept` and `Connect` by the name of a port, then `Merge`.

    survivors  ── Accept(port) ──╮
                                 ├─ all have called, join_s later ─► an intercommunicator ─ Merge ─► one communicator
    newcomers  ── Connect(port) ─╯

If a rank dies before all have called, or the accepting communicator is revoked, the calls of all others raise an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.comm.management import context_number
from emulator.core.instruments import Wait
from emulator.sim.joint import JointCall

if TYPE_CHECKING:
    from emulator.sim.failures import Failures


class Connection(JointCall):
    """The operation for which the ranks of both groups wait in `Accept` and `Connect`.

    Parameters
    ----------
    starter : the rank that has started the newcomers, one of the accepting group
    newcomers : the connecting group
    """

    purpose = "to accept or to connect"

    def __init__(self, failures: Failures, starter: int, newcomers: Sequence[int], port: str) -> None:
        self._failures, self._port = failures, port
        self._newcomers, self._accepting = tuple(newcomers), (starter,)
        self._revoked: set[int] = set()
        self._entered: set[int] = set()
        self._merged: Any = None
        self._settled = False

    @property
    def missing(self) -> list[int]:
        return [rank for rank in (*self._accepting, *self._newcomers) if rank not in self._entered]

    def poll(self) -> bool:
        if self.complete:
            return True
        if self._settled:
            return False
        if self._revoked:
            self.error = MPI.ERR_REVOKED
        elif not self._failures.known.keys().isdisjoint((*self._accepting, *self._newcomers)):
            self.error = MPI.ERR_PROC_FAILED
        return self.error != 0

    def accept(self, shared: Any) -> None:
        """Note the accepting ranks, of which the newcomers know only one."""
        self._accepting, self._revoked = tuple(shared.ranks), shared.revoked
        self.wake()

    def meet(self, comm: Any, accepts: bool) -> Intercomm:
        """Enter as a rank of one of the groups, and wait for all others.

        Raises
        ------
        MPI.Exception
            It did not come about.
        """
        engine, failures = comm.engine, self._failures
        self._entered.add(engine.rank)
        if not self.poll() and not self.missing:
            self._settled = True
            failures.at(failures.now + failures.costs.join_s, self._finish)
        engine.wait(self)
        engine.wait_until(failures.now, Wait.POLL)
        if not self.complete:
            self.wake()  # newcomers hear of no revocation
            comm.raise_error(self.error)
        return Intercomm(self, comm, accepts)

    def _finish(self) -> None:
        self.complete = True
        self.wake()

    def wake(self) -> None:
        """Make all waiting ranks check again."""
        self._failures.wake(self._entered)

    def merged(self, comm: Any, first: bool) -> Any:
        """The communicator of both groups; `first`: the ranks of `comm` come first."""
        control = comm.control
        if self._merged is None:
            local, accepting = tuple(control.shared.ranks), self._accepting
            remote = self._newcomers if local == accepting else accepting
            self._merged = type(control.shared)(local + remote if first else remote + local)
        place = self._merged.members.place(comm.engine.rank)
        real = type(control)(self._merged, place, comm.engine)
        return type(comm)(comm.engine, real, context_number(self._port), comm._algorithms)

    def size_of(self, accepts: bool) -> int:
        """Number of ranks of one of the groups."""
        return len(self._accepting if accepts else self._newcomers)


def meet(comm: Any, name: str, root: int, accepts: bool) -> Intercomm:
    """Meet another group at a port; only rank `root` of `comm` needs to know its name.

    Raises
    ------
    MPI.Exception
        A rank died, the communicator is revoked, or there is no such port.
    """
    ports: dict[str, Connection] = comm.engine.failures.ports
    named = ports.get(name) if comm.Get_rank() == root else None
    if named is not None and accepts:
        named.accept(comm.control.shared)
    try:
        port = ports.get(comm.control.bcast(name, root))
    except MPI.Exception as error:
        if named is not None:
            named.wake()
        comm.raise_error(error.Get_error_class())
    if port is None:
        comm.raise_error(MPI.ERR_PORT)
    assert port is not None
    return port.meet(comm, accepts)


class Intercomm:
    """One rank's end of the connection of two groups, with the methods of ``MPI.Intercomm`` that a merge needs."""

    def __init__(self, connection: Connection, comm: Any, accepts: bool) -> None:
        self._connection, self._comm, self._accepts = connection, comm, accepts

    def Get_size(self) -> int:
        return self._connection.size_of(self._accepts)

    def Get_remote_size(self) -> int:
        return self._connection.size_of(not self._accepts)

    def Merge(self, high: bool = False) -> Any:
        """The communicator of both groups; those whose `high` is false come first."""
        return self._connection.merged(self._comm, first=not high)

    def Disconnect(self) -> None:
        """Do nothing: the connection holds no resource."""

    Free = Disconnect
