"""A job whose ranks are threads of this process that take turns in virtual time, with MPI's fault tolerance modelled.

Exactly one thread runs at a time. Time passes only when all threads sleep: it jumps to the earliest end of a sleep, so
that every run is the same. A killed rank ends at the instant of its kill, a stopped one does not run until it is woken.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import reduce
from operator import and_
from types import SimpleNamespace

from mpi4py import MPI

from emulator.carrier import Carrier
from faults.platform import Clock, Executioner, Platform

LOOK_S = 2e-4  # virtual time between two looks at what is waited for
PID = 1000  # of rank 0


class Killed(BaseException):
    """The rank ends here."""


class Scheduler(Clock, Executioner):
    """Virtual time, and the fate of each thread: clock and executioner in one."""

    def __init__(self) -> None:
        self.t, self.clock = 50.0, self
        self.turns: dict[int, threading.Semaphore] = {}
        self.wakes: dict[int, float] = {}  # when each thread goes on, by process id
        self.ended: set[int] = set()
        self.killed: dict[int, float] = {}  # when
        self.stopped: set[int] = set()
        self.due: list[tuple[float, int, int]] = []  # signals: instant, process, number
        self.struck: list[tuple[float, int, int]] = []
        self.mine = threading.local()

    # -- clock
    def now(self) -> float:
        return self.t

    cpu = now

    def give_way(self) -> None:
        self.sleep(LOOK_S)

    def sleep(self, seconds: float) -> None:
        self.wakes[self.own_id()] = self.t + seconds
        self._pass_on()
        self.turns[self.own_id()].acquire()
        if self.own_id() in self.ended:
            raise Killed

    def _pass_on(self) -> None:
        """Choose the thread that runs next; let the signals happen that are due before."""
        while self.wakes:
            runnable = {pid: at for pid, at in self.wakes.items() if pid not in self.stopped}
            nearest = min(runnable.values(), default=float("inf"))
            signals = sorted(one for one in self.due if one[0] <= nearest)
            if not signals:
                if runnable:
                    chosen = min(runnable, key=lambda pid: (runnable[pid], pid))
                    self.t = max(self.t, self.wakes.pop(chosen))
                    self.turns[chosen].release()
                return
            self.due.remove(signals[0])
            self._deliver(*signals[0])

    # -- executioner
    def own_id(self) -> int:
        return self.mine.pid

    def strike(self, number: signal.Signals, at: float = 0.0) -> None:
        self.due.append((max(at, self.t), self.own_id(), number))
        if at <= self.t:
            self.sleep(0.0)

    def heed(self, number: signal.Signals) -> Callable[[], bool]:
        mine = self.own_id()
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

    # -- threads
    def run(self, *bodies: Callable[[], None]) -> None:
        """Run the bodies, each as the process ``PID + its number``, until all have ended."""
        errors: list[BaseException] = []

        def live(pid: int, body: Callable[[], None]) -> None:
            self.mine.pid = pid
            try:
                self.turns[pid].acquire()
                body()
            except Killed:
                pass
            except BaseException as error:
                errors.append(error)
            self.ended.add(pid)
            self._pass_on()

        threads = [
            threading.Thread(target=live, args=(PID + number, body), daemon=True) for number, body in enumerate(bodies)
        ]
        self.turns = {PID + number: threading.Semaphore(0) for number in range(len(bodies))}
        self.wakes = {PID + number: self.t for number in range(len(bodies))}
        for thread in threads:
            thread.start()
        self._pass_on()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), f"hangs at {self.t}"
        if errors:
            raise errors[0]


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
        self.messages: dict[tuple[int, int, int], list[bytes]] = {}
        self.revoked = False
        self.agreements: list[dict[int, int]] = []
        self.acknowledged: list[dict[int, frozenset[int]]] = []


class TimedCarrier(Carrier):
    timed = True


class Comm:
    """One rank's view of a communicator: what `faults.agree` and `SurvivorComm` use of ULFM."""

    def __init__(self, job: Job, rank: int, number: int = 0) -> None:
        self.job, self.rank, self.shared = job, rank, job.shared(number)
        self.carrier = TimedCarrier(self)
        self._dups, self._agreed, self._known = 0, 0, frozenset[int]()

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
        self.shared.messages.setdefault((self.rank, dest, tag), []).append(buffer.tobytes())

    def Recv(self, buffer, source: int, tag: int = 0, status: object = None) -> None:
        box = self.shared.messages.setdefault((source, self.rank, tag), [])
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
        return self._shared.setdefault(number, Shared())

    def dead(self) -> set[int]:
        """Ranks whose death is known: it becomes so after the instant of the death."""
        now, killed = self.scheduler.t, self.scheduler.killed
        return {rank for rank in range(self.size) if killed.get(PID + rank, now) < now}

    def news(self, shared: Shared, number: int) -> bool:
        """Whether a death was news to an agreement: the first rank that knows its outcome settles it for all."""
        dead = self.dead()
        missed = any(dead - known for rank, known in shared.acknowledged[number].items() if rank not in dead)
        return self._news.setdefault((shared, number), missed)
