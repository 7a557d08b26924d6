"""A job whose ranks are greenlets that take turns in virtual time, with MPI's fault tolerance modelled.

Exactly one rank runs at a time. Time passes only when all ranks sleep: it jumps to the earliest end of a sleep, so
that every run is the same. A killed rank ends at the instant of its kill, a stopped one does not run until it is woken.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property, partial, reduce
from operator import and_
from types import SimpleNamespace

from greenlet import getcurrent, greenlet
from mpi4py import MPI

from emulator.carrier import Carrier
from faults.platform import Clock, Executioner, Platform
from tests.simulated import limited

LOOK_S = 2e-4  # virtual time between two looks at what is waited for
PID = 1000  # of rank 0
NEVER = (float("inf"), 0)


class Killed(BaseException):
    """The rank ends here."""


class Scheduler(Clock, Executioner):
    """Virtual time, and the fate of each rank: clock and executioner in one."""

    def __init__(self) -> None:
        self.t, self.clock = 50.0, self
        self.running, self.loop = 0, getcurrent()  # process id of the rank whose turn it is; who gives the turns
        self.wakes: dict[int, float] = {}  # when each rank goes on, by process id
        self.ended: set[int] = set()
        self.killed: dict[int, float] = {}  # when
        self.stopped: set[int] = set()
        self.due: list[tuple[float, int, int]] = []  # signals: instant, process, number
        self.struck: list[tuple[float, int, int]] = []

    # -- clock
    def now(self) -> float:
        return self.t

    cpu = now

    def give_way(self) -> None:
        self.sleep(LOOK_S)

    def sleep(self, seconds: float) -> None:
        self.wakes[self.running] = self.t + seconds
        self.loop.switch()
        if self.running in self.ended:
            raise Killed

    # -- executioner
    def own_id(self) -> int:
        return self.running

    def strike(self, number: signal.Signals, at: float = 0.0) -> None:
        self.due.append((max(at, self.t), self.running, number))
        if at <= self.t:
            self.sleep(0.0)

    def heed(self, number: signal.Signals) -> Callable[[], bool]:
        mine = self.running
        return lambda: any((pid, struck) == (mine, number) for _, pid, struck in self.struck)

    def send(self, process: int, number: int = signal.SIGKILL) -> bool:
        if process in self.ended:
            return False
        if number:
            self._deliver(self.t, process, number)
        return True

    def state(self, process: int) -> str:
        return "" if process in self.ended else "T" if process in self.stopped else "R"

    def _deliver(self, at: float, process: int, number: int) -> None:
        self.t = max(self.t, at)
        if process in self.ended:
            return
        self.struck.append((self.t, process, number))
        if number == signal.SIGKILL:
            self.ended.add(process)
            self.killed[process] = self.t
            self.wakes[process] = self.t  # once more, to end
        if number == signal.SIGSTOP:
            self.stopped.add(process)
        else:
            self.stopped.discard(process)

    # -- turns
    def run(self, *bodies: Callable[[], None]) -> None:
        """Run the bodies, each as the process ``PID + its number``, until all have ended; raise the first error."""
        self.loop = getcurrent()
        errors: list[BaseException] = []
        ranks = {PID + number: greenlet(partial(self._live, body, errors)) for number, body in enumerate(bodies)}
        self.wakes = dict.fromkeys(ranks, self.t)
        with limited():
            while (chosen := self._next()) is not None:
                self.running = chosen
                ranks[chosen].switch()
        assert all(rank.dead for rank in ranks.values()), f"hangs at {self.t}"
        if errors:
            raise errors[0]

    def _live(self, body: Callable[[], None], errors: list[BaseException]) -> None:
        try:
            body()
        except Killed:
            pass
        except BaseException as error:
            errors.append(error)
        self.ended.add(self.running)

    def _next(self) -> int | None:
        """Choose the rank that runs next; let the signals happen that are due before."""
        while True:
            at, chosen = min(((at, pid) for pid, at in self.wakes.items() if pid not in self.stopped), default=NEVER)
            signals = [one for one in self.due if one[0] <= at]
            if signals:
                self.due.remove(min(signals))
                self._deliver(*min(signals))
            elif chosen:
                self.t = max(self.t, self.wakes.pop(chosen))
                return chosen
            else:
                return None


class Group:
    def __init__(self, ranks: list[int]) -> None:
        self.ranks, self.size = ranks, len(ranks)

    def Translate_ranks(self, ranks: list[int], other: Group) -> list[int]:
        return [other.ranks.index(self.ranks[rank]) for rank in ranks]

    def Free(self) -> None:
        pass


class Shared:
    """What all ranks know of one communicator."""

    def __init__(self) -> None:
        self.messages: defaultdict[tuple[int, int, int], list[bytes]] = defaultdict(list)
        self.revoked = False
        self.agreements: list[dict[int, int]] = []
        self.acknowledged: list[dict[int, frozenset[int]]] = []


class TimedCarrier(Carrier):
    timed = True


class Comm:
    """One rank's view of a communicator: what `faults.agree` and `SurvivorComm` use of ULFM."""

    def __init__(self, job: Job, rank: int, number: int = 0) -> None:
        self.job, self.rank, self.shared = job, rank, job.shared(number)
        self._dups, self._agreed, self._known = 0, 0, frozenset[int]()

    @cached_property
    def carrier(self) -> TimedCarrier:
        return TimedCarrier(self)

    def Set_errhandler(self, handler: object) -> None:
        pass

    def Dup(self) -> Comm:
        self._dups += 1
        return Comm(self.job, self.rank, self._dups)

    def Get_rank(self) -> int:
        return self.rank

    def Get_size(self) -> int:
        return self.job.size

    def Get_group(self) -> Group:
        return Group(list(range(self.job.size)))

    def Get_failed(self) -> Group:
        return Group(sorted(self.job.dead()))

    def Ack_failed(self) -> None:
        self._known = frozenset(self.job.dead())

    def Revoke(self) -> None:
        self.shared.revoked = True

    def Is_revoked(self) -> bool:
        return self.shared.revoked

    def Barrier(self) -> None:
        request = self.Iagree([1])
        while not request.Test():
            pass

    def Iagree(self, buffer) -> SimpleNamespace:
        number, self._agreed = self._agreed, self._agreed + 1
        while len(self.shared.agreements) <= number:
            self.shared.agreements.append({})
            self.shared.acknowledged.append({})
        said, known = self.shared.agreements[number], self.shared.acknowledged[number]
        said[self.rank], known[self.rank] = buffer[0], self._known

        def test() -> bool:
            if set(range(self.job.size)) - self.job.dead() - said.keys():
                self.job.scheduler.sleep(LOOK_S)
                return False
            buffer[0] = reduce(and_, said.values())
            if self.job.news(self.shared, number):
                raise MPI.Exception(MPI.ERR_OTHER)
            return True

        return SimpleNamespace(Test=test)

    def Send(self, buffer, dest: int, tag: int = 0) -> None:
        self._check(dest)
        self.shared.messages[self.rank, dest, tag].append(buffer.tobytes())

    def Recv(self, buffer, source: int, tag: int = 0, status: object = None) -> None:
        box = self.shared.messages[source, self.rank, tag]
        while not box:
            self._check(source)
            self.job.scheduler.sleep(LOOK_S)
        buffer.reshape(-1).view("u1")[:] = list(box.pop(0))

    def _check(self, peer: int) -> None:
        if self.shared.revoked or peer in self.job.dead():
            raise MPI.Exception(MPI.ERR_OTHER)


class Job:
    """`size` ranks on one platform."""

    def __init__(self, size: int) -> None:
        self.size, self.scheduler = size, Scheduler()
        self.platform = Platform(self.scheduler, self.scheduler, survives=True)
        self._shared: dict[int, Shared] = {}
        self._news: dict[tuple[Shared, int], bool] = {}

    def shared(self, number: int) -> Shared:
        if number not in self._shared:
            self._shared[number] = Shared()
        return self._shared[number]

    def dead(self) -> set[int]:
        """Ranks whose death is known: it becomes so after the instant of the death."""
        now = self.scheduler.t
        return {pid - PID for pid, at in self.scheduler.killed.items() if at < now}

    def news(self, shared: Shared, number: int) -> bool:
        """Whether a death was news to an agreement: the first rank that knows its outcome settles it for all."""
        dead = self.dead()
        missed = any(dead - known for rank, known in shared.acknowledged[number].items() if rank not in dead)
        return self._news.setdefault((shared, number), missed)
