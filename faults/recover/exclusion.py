"""Going on without dead ranks: nothing is rebuilt and no rank replaced; the algorithm leaves them out.

    with routing(MPI.COMM_WORLD) as route:
        peers = Peers(route.comm, on_failure=route.lost)
        for step in route.steps(100):
            mix(peers, x, mixing)

On the original communicator the survivors' point-to-point messages go on when a rank dies, as long as it is not
revoked. A death is known from an error, or by asking the runtime now and then; at the end the survivors leave together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from mpi4py import MPI

from faults.agree.deaths import RecoveryFailed
from faults.agree.survivor_group import Decision, SurvivorGroup
from faults.inject.drill_context import DrillContext
from faults.record import outcome
from faults.record.journal import What
from faults.record.status_board import WORKING
from faults.recover.user_loop.preconditions import check_survival, context_of
from faults.recover.user_loop.program_failure import GuardedLoop

_ASK_EVERY_S = 1e-3
_FOLLOW_EVERY_S = 1e-3


class Route(GuardedLoop):
    """One rank of a job whose algorithm leaves dead ranks out; made by `routing`.

    Attributes
    ----------
    comm : the communicator to use, the same until `renew`
    dead : ranks that this one knows to be dead; after the end, those that all know
    """

    def __init__(self, comm: MPI.Intracomm, drill: DrillContext, stages: int = 1) -> None:
        self.drill, self._clock = drill, drill.platform.clock
        self.group = SurvivorGroup(comm, work_comms=stages, revocable=False, clock=drill.platform.clock)
        self.comm = self.group.work_comm
        self.rank, self.size = self.group.rank, self.group.size
        self.dead: set[int] = set()
        self._asked = 0.0
        self._over = threading.Event()
        self._needed: dict[str, set[int]] = {}
        self._decision: Decision | None = None
        self.drill.placed(self.rank)
        self.drill.ready()

    def steps(self, count: int) -> Iterator[int]:
        """Count this rank's steps; each is committed when the next one is requested.

        A rank that has no message to or from a dead one gets no error: it asks as it begins a step.
        """
        for step in range(count):
            self.look()
            self.drill.working_on(step)
            yield step
            self.drill.journal.write(What.COMMIT, step=step)

    def follow(self, others: Sequence[int]) -> None:
        """Count the steps of the slowest living rank of `others`, on a rank that serves and has no steps of its own.

        It looks at the board now and then beside its work, so that a fault can meet a server at a step of its workers.
        """
        board = self.drill.board
        if board is None:
            return
        seen = -1

        def look() -> None:
            nonlocal seen
            rows = board.rows
            at_work = [rank for rank in others if rank not in self.dead and rows["state"][rank] == WORKING]
            slowest = min((int(rows["step"][rank]) for rank in at_work), default=seen)
            for step in range(seen + 1, slowest + 1):
                self.drill.working_on(step)
            seen = max(seen, slowest)

        self._clock.every(_FOLLOW_EVERY_S, look, self._over)

    def need(self, role: str, ranks: Iterable[int]) -> None:
        """Require that one of these ranks lives, or the job fails; a later call replaces the ranks of the role."""
        self._needed[role] = set(ranks)

    def agree(self) -> list[int]:
        """Wait for all living ranks, and agree with them on who lives; collective."""
        self._decision = self.group.agree(True)
        self._exclude(set(range(self.size)).difference(self._decision.alive))
        return self.living

    def renew(self) -> None:
        """Switch to another communicator, which no earlier message can reach; at most `stages` - 1 times.

        Called by all living ranks, right after they have agreed.
        """
        assert self._decision is not None
        if not self.group.advance(self._decision):
            stages = len(self.group.work_comms)
            raise ValueError(
                f"routing(stages={stages}) allows {stages - 1} calls of renew(), this is one more: pass a larger stages"
            )
        self.comm = self.group.work_comm
        self.comm.Ack_failed()

    def lost(self, rank: int, error: MPI.Exception) -> None:
        """Leave out a rank with which the algorithm met an MPI error."""
        self.look(error)
        self._exclude({rank})

    def look(self, error: MPI.Exception | None = None) -> set[int]:
        """The dead ranks, asked of MPI after an error and otherwise from time to time."""
        now = self._clock.now()
        if error is None and now - self._asked < _ASK_EVERY_S:
            return set(self.dead)
        self._asked = now
        self.comm.Ack_failed()
        self._exclude(self.group.failed())
        return set(self.dead)

    def _exclude(self, dead: set[int]) -> None:
        if dead - self.dead:
            outcome.tell(dead=sorted(dead - self.dead), at=self._clock.now(), ranks=self.size - len(self.dead | dead))
            self.dead |= dead
            # Ranks are not in step with each other, so no step is said to be the one that was interrupted.
            self.drill.journal.write(What.NOTICED, how=f"{sorted(dead)} dead")
            self.drill.noticed()
            self.drill.journal.write(What.REBUILT, places=self.living)
            for role, ranks in self._needed.items():
                if ranks <= self.dead:
                    raise RecoveryFailed("rebuild", f"no {role} is left alive")

    @property
    def living(self) -> list[int]:
        return [rank for rank in range(self.size) if rank not in self.dead]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        super().__exit__(kind, error, trace)

    def _leave(self) -> None:
        alive = self.group.agree(True).alive
        self.dead |= set(range(self.size)) - set(alive)  # a death may become known so late on a busy machine


def routing(comm: MPI.Intracomm, drill: DrillContext | None = None, stages: int = 1) -> Route:
    """Begin a job whose algorithm itself tolerates the loss of ranks.

    Parameters
    ----------
    comm : all ranks
    stages : communicators that the job uses one after the other (`Route.renew`); all are built at the start

    Raises
    ------
    UsageError
        The job would end with the first death: its MPI cannot do without ranks, or was not told to.
    """
    drill = context_of(drill)
    check_survival("routing", drill.platform.survives)
    return Route(comm, drill, stages)
