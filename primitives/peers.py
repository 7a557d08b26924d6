"""The living members of a group, and one round of messages with them.

Gossip needs no repair when a peer dies: a peer that cannot be reached is left out, and the weight meant for it stays
with the sender. `Peers` holds

    table   position in the graph -> rank     the members that all have agreed on; graphs are built on positions
    lost    members that this rank has found dead, before any agreement
    hook    on_failure(rank, error), called when MPI refuses a message to or from a rank

Without a hook an error of MPI is raised as it is. With one, a hook that returns declares the rank lost and the
round goes on; a hook that raises ends it. `adopt` takes the next agreed list of members (and the communicator to
go on with), after which graphs and schedules are built anew for `size` positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mpi4py import MPI
from numpy.typing import NDArray

from emulator import carrier
from emulator.errors import UsageError

OnFailure = Callable[[int, MPI.Exception], None]
Messages = Sequence[tuple[int, NDArray]]

TAG = 611


class Peers:
    """A table of living ranks over a communicator.

    Parameters
    ----------
    comm : bare or emulated communicator
    members : ranks of `comm` that take part, in the order of their positions; absent: all of them
    on_failure : see above; absent: errors are raised

    Raises
    ------
    UsageError
        A member is not a rank of `comm`, is named twice, or this rank is not among them.
    """

    def __init__(
        self, comm: MPI.Intracomm, members: Iterable[int] | None = None, on_failure: OnFailure | None = None
    ) -> None:
        self.on_failure = on_failure
        self.adopt(range(comm.Get_size()) if members is None else members, comm)

    @classmethod
    def of(cls, comm: MPI.Intracomm | Peers) -> Peers:
        """Make a table of all ranks of a communicator; a table that a caller keeps is returned as it is."""
        return comm if isinstance(comm, Peers) else cls(comm)

    def adopt(self, members: Iterable[int], comm: MPI.Intracomm | None = None) -> None:
        """Replace the members by these, on which all of them have agreed; none is lost at first."""
        if comm is not None:
            self.comm, self.carrier = comm, carrier.of(comm)
        ranks, me = self.comm.Get_size(), self.comm.Get_rank()
        self.members: Sequence[int] = members if isinstance(members, range) else tuple(members)
        if self.members != range(ranks):  # this comparison takes the same time for any number of ranks
            different = len(set(self.members)) == len(self.members)
            if not different or any(not 0 <= m < ranks for m in self.members):
                raise UsageError(f"members are different ranks between 0 and {ranks - 1}, got {list(self.members)}")
        if me not in self.members:
            raise UsageError(f"rank {me} is not among the members {list(self.members)}: only members may gossip")
        self.rank = self.members.index(me)
        self.lost: set[int] = set()

    @property
    def size(self) -> int:
        """Number of positions in the table, lost ones included."""
        return len(self.members)

    def alive(self, position: int) -> bool:
        """Whether the member at `position` is not lost."""
        return position not in self.lost

    def lose(self, position: int, error: MPI.Exception) -> None:
        """Call the hook at a member's first error, and drop the member if the hook returns."""
        if position in self.lost:
            return
        if self.on_failure is None:
            raise error
        self.on_failure(self.members[position], error)
        self.lost.add(position)

    def exchange(self, sends: Messages, receives: Messages, tag: int = TAG) -> dict[int, int]:
        """Send and receive one round of messages, all at the same time.

        Parameters
        ----------
        sends, receives : (position, contiguous array); sends leave in the order given. Lost members are skipped.
        tag : of all these messages

        Returns
        -------
        dict
            Position -> bytes of the message that has arrived. The arrays of missing members are undefined.
        """
        pending = []
        for arriving, messages in ((True, receives), (False, sends)):
            for position, array in messages:
                if position in self.lost:
                    continue
                start = self.comm.Irecv if arriving else self.comm.Isend
                try:
                    pending.append((arriving, position, start(array, self.members[position], tag)))
                except MPI.Exception as error:
                    self.lose(position, error)
        arrived: dict[int, int] = {}
        status = MPI.Status()
        for arriving, position, request in pending:
            try:
                request.Wait(status)
            except MPI.Exception as error:
                self.lose(position, error)
            else:
                if arriving:
                    arrived[position] = status.Get_count(MPI.BYTE)
        return arrived
