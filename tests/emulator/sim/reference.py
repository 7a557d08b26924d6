"""A second, short simulation of message-passing programs, and random programs that both simulations must run alike.

A program gives for each rank a list of steps:

    ("compute", seconds)
    ("send", destination, tag, size, synchronous)    Isend or Issend
    ("post", number, source, tag)                    Irecv; None is a wildcard
    ("wait", number)                                 for the receive of that number
    ("test", numbers)                                Test of one receive, Testall of several
    ("any", numbers), ("some", numbers)              Waitany or Waitsome of these receives
    ("probe", number, source, tag, matched)          Probe and Recv of what was found; Mprobe if matched
    ("iprobe", number, source, tag)                  Iprobe, and Recv of what was found, if anything was
    ("sent",), ("test sent",)                        wait for all sends; Testall of them

A receive that an earlier step has completed is left out. A poll is followed by some compute: the same poll at the same
instant would let simulated time pass.

Hosts have one card each, which serves messages of one instant in the order (time, source, number of the source).
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from emulator import sim
from emulator.network import Host, Network, NetworkSpec, Nic, Path

Step = tuple[Any, ...]
Trail = list[tuple[Any, ...]]
"""What a rank saw: after each step that may wait the time, and the source, tag and size of what it received."""

# Powers of two, so that sums are exact and many things happen at the same instant.
ALPHA, BETA = 2.0**-14, 2.0**-30
_MEMORY = Path(2.0**-18, 2.0**-33)
_TICK = 2.0**-15
_SIZES = (0, 1, 1 << 10, 1 << 15, 1 << 16)  # the last one takes as long as the latency


def network(ranks: int, per_host: int) -> Network:
    """Like hosts with `per_host` ranks on each."""
    host = Host("h", Nic(BETA, BETA), 1.0, _MEMORY)
    return Network(NetworkSpec("reference", "for tests", (host,), False, per_host, "block", ALPHA, BETA), ranks)


def both(seed: int, per_host: int) -> tuple[list[Trail], list[Trail]]:
    """What each rank of a random program sees: in the simulator, and in the reference."""
    ranks = 2 + seed % 5
    program = draw(seed, ranks)
    found = sim.run(partial(carry_out, program=program), ranks, network(ranks, per_host))
    return found.results, Reference(program, per_host).run()


# -- random programs


def draw(seed: int, ranks: int, rounds: int = 4) -> list[list[Step]]:
    """In each round every rank sends some messages, receives those to it in one of many ways, and waits for its sends.

    No program is stuck: the tags of a round are its own, and a wildcard can only take what the same round receives.
    """
    rng = random.Random(seed)
    program: list[list[Step]] = [[] for _ in range(ranks)]
    for turn in range(rounds):
        sent = [(rng.randrange(ranks), rng.randrange(ranks), 2 * turn + rng.randrange(2), rng.choice(_SIZES))
                for _ in range(rng.randrange(1, 3 * ranks))]  # fmt: skip
        for rank, steps in enumerate(program):
            steps.append(("compute", rng.randrange(4) * _TICK))
            for source, destination, tag, size in sent:
                if source == rank:
                    steps.append(("send", destination, tag, size, rng.random() < 0.2))
                    if rng.random() < 0.3:
                        steps.append(("compute", rng.randrange(3) * _TICK))
            envelopes = [(source, tag) for source, destination, tag, _ in sent if destination == rank]
            steps += _receives(envelopes, turn, rng)
            if rng.random() < 0.3:
                steps += [("test sent",), _some_compute(rng)]
            steps.append(("sent",))
    return program


def _some_compute(rng: random.Random) -> Step:
    return ("compute", rng.randrange(1, 4) * _TICK)


def _receives(envelopes: list[tuple[int, int]], turn: int, rng: random.Random) -> list[Step]:
    """Receive messages with these sources and tags: named in full, or with one wildcard; one by one, posted, probed."""
    blind = rng.randrange(3)
    wanted = [(None if blind == 1 else source, None if blind == 2 else tag) for source, tag in envelopes]
    rng.shuffle(wanted)
    way = rng.randrange(8)
    numbers = [1000 * turn + number for number in range(len(wanted))]
    probes: list[Step] = [("probe", n, *one, rng.random() < 0.5) for n, one in zip(numbers, wanted, strict=True)]
    if way == 3:
        return probes
    if way == 4:
        looks = [[step for _ in range(rng.randrange(1, 3)) for step in (("iprobe", *probe[1:4]), _some_compute(rng))]
                 for probe in probes]  # fmt: skip
        return [step for look, probe in zip(looks, probes, strict=True) for step in (*look, probe)]
    posts = [("post", number, *one) for number, one in zip(numbers, wanted, strict=True)]
    waits: list[Step] = [("wait", number) for number in numbers]
    if way == 0:
        return [step for pair in zip(posts, waits, strict=True) for step in pair]
    if way == 1:
        rng.shuffle(waits)
    if way == 5:
        waits = [step for number in numbers for step in (("test", [number]), _some_compute(rng))] + waits
    if way in (6, 7):
        waits = [("any" if way == 6 else "some", numbers)] * len(numbers)
    if way > 4 and rng.random() < 0.5:
        waits = [("test", numbers), _some_compute(rng), *waits]
    return [*posts, ("compute", rng.randrange(3) * _TICK), *waits]


def carry_out(comm: Any, program: list[list[Step]]) -> Trail:
    """Run a rank's steps on a communicator."""
    sends: list[Any] = []
    posted: dict[int, Any] = {}
    probed: set[int] = set()
    seen: Trail = []
    for kind, *what in program[comm.Get_rank()]:
        if kind == "compute":
            emulator.compute(comm, what[0])
        elif kind == "send":
            destination, tag, size, synchronous = what
            sends.append((comm.Issend if synchronous else comm.Isend)(np.zeros(size, np.uint8), destination, tag))
        elif kind == "post":
            number, source, tag = what
            posted[number] = comm.Irecv(np.empty(_SIZES[-1], np.uint8), *_named(source, tag))
        elif kind == "sent":
            MPI.Request.Waitall(sends)
            sends = []
            seen.append((comm.now(),))
        elif kind == "test sent":
            if sends:
                over = MPI.Request.Testall(sends)
                sends = [] if over else sends
                seen.append((comm.now(), over))
        elif kind in ("probe", "iprobe"):
            if what[0] not in probed:
                seen.append(_probe(comm, kind, probed, *what))
        else:
            numbers = [number for number in (what[0] if kind != "wait" else what) if number in posted]
            if numbers:
                seen.append(_complete(comm, kind, numbers, posted))
    return seen


def _complete(comm: Any, kind: str, numbers: list[int], posted: dict[int, Any]) -> tuple[Any, ...]:
    """Wait for, or test, these posted receives; gives the time and what those that are complete have received."""
    requests, statuses = [posted[number] for number in numbers], [MPI.Status() for _ in numbers]
    done: list[int] | None = list(range(len(numbers)))
    if kind == "any":
        done = [MPI.Request.Waitany(requests, statuses[0])]
    elif kind == "some":
        done = MPI.Request.Waitsome(requests, statuses)
    elif kind == "wait":
        requests[0].Wait(statuses[0])
    elif not (requests[0].Test(statuses[0]) if len(requests) == 1 else MPI.Request.Testall(requests, statuses)):
        done = []
    for place in done or ():
        del posted[numbers[place]]
    told = [(one.source, one.tag, one.Get_count(MPI.BYTE)) for one in statuses[: len(done or ())]]
    return (comm.now(), *told)


def _named(source: int | None, tag: int | None) -> tuple[int, int]:
    return MPI.ANY_SOURCE if source is None else source, MPI.ANY_TAG if tag is None else tag


def _probe(
    comm: Any, kind: str, probed: set[int], number: int, source: int | None, tag: int | None, matched: bool = False
) -> tuple[Any, ...]:
    """Probe, and receive what was found; gives the time and what that was."""
    box, status, envelope = np.empty(_SIZES[-1], np.uint8), MPI.Status(), _named(source, tag)
    if matched:
        comm.Mprobe(*envelope).Recv(box, status)
    elif (comm.Probe if kind == "probe" else comm.Iprobe)(*envelope, status):
        comm.Recv(box, status.source, status.tag, status)
    else:
        return (comm.now(),)
    probed.add(number)
    return (comm.now(), (status.source, status.tag, status.Get_count(MPI.BYTE)))


# -- the reference


@dataclass
class _Message:
    source: int
    number: int
    tag: int
    size: int
    first: float
    service: float
    alpha: float
    end: float
    due: float = 0.0
    acknowledged: float | None = 0.0  # None: a synchronous send that is not matched


@dataclass
class _Rank:
    steps: deque[Step]
    turn: int = 0
    waits: bool = False
    sends: list[_Message] = field(default_factory=list)
    posted: list[tuple[int, Any, Any]] = field(default_factory=list)
    got: dict[int, _Message] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    unexpected: list[_Message] = field(default_factory=list)
    seen: Trail = field(default_factory=list)


class Reference:
    """Runs a program event by event: arrivals at a card, and turns of ranks; at one instant the arrivals come first."""

    def __init__(self, program: list[list[Step]], per_host: int) -> None:
        self._ranks = [_Rank(deque(steps)) for steps in program]
        self._host = [rank // per_host for rank in range(len(program))]
        self._free: dict[Any, float] = {}
        self._events: list[tuple[Any, ...]] = []
        self._numbers = 0
        for rank in range(len(program)):
            self._wake(rank, 0.0)

    def run(self) -> list[Trail]:
        """What each rank sees."""
        while self._events:
            now, kind, who, number, *message = heappop(self._events)
            if kind == 0:
                self._arrive(*message)
            elif self._ranks[who].turn == number:
                rank = self._ranks[who]
                rank.turn, rank.waits = rank.turn + 1, False  # what it does to itself wakes it no second time
                rank.waits = not self._go_on(rank, who, now)
        assert not any(one.steps for one in self._ranks)
        return [one.seen for one in self._ranks]

    def _wake(self, rank: int, time: float) -> None:
        heappush(self._events, (time, 1, rank, self._ranks[rank].turn))

    def _serve(self, card: Any, asked: float, seconds: float) -> float:
        start = max(asked, self._free.get(card, 0.0))
        self._free[card] = start + seconds
        return start

    def _send(self, source: int, now: float, destination: int, tag: int, size: int, synchronous: bool) -> None:
        local = self._host[source] == self._host[destination]
        alpha, beta = (_MEMORY.alpha, _MEMORY.beta) if local else (ALPHA, BETA)
        start = self._serve(("memory out", source) if local else ("out", self._host[source]), now, size * beta)
        self._numbers += 1
        message = _Message(
            source, self._numbers, tag, size, start + alpha, size * beta, alpha, start + size * beta,
            acknowledged=None if synchronous else 0.0,
        )  # fmt: skip
        self._ranks[source].sends.append(message)
        card = ("memory in", destination) if local else ("in", self._host[destination])
        heappush(self._events, (message.first, 0, source, self._numbers, message, destination, card))

    def _arrive(self, message: _Message, destination: int, card: Any) -> None:
        message.due = self._serve(card, message.first, message.service) + message.service
        rank = self._ranks[destination]
        for place, (number, source, tag) in enumerate(rank.posted):
            if source in (None, message.source) and tag in (None, message.tag):
                del rank.posted[place]
                self._match(rank, number, message, message.first)
                break
        else:
            rank.unexpected.append(message)
        if rank.waits:
            self._wake(destination, message.first)

    def _match(self, rank: _Rank, number: int, message: _Message, time: float) -> None:
        rank.got[number] = message
        if message.acknowledged is None:
            message.acknowledged = time + message.alpha
            if self._ranks[message.source].waits:
                self._wake(message.source, message.acknowledged)

    def _found(self, rank: _Rank, source: Any, tag: Any) -> _Message | None:
        fit = [one for one in rank.unexpected if source in (None, one.source) and tag in (None, one.tag)]
        return min(fit, key=lambda one: (one.first, one.source, one.number), default=None)

    def _go_on(self, rank: _Rank, who: int, now: float) -> bool:
        """Carry steps out until one takes time; False if a message may end it, or must."""
        while rank.steps:
            kind, *what = rank.steps[0]
            if kind == "compute":
                rank.steps.popleft()
                if not what[0]:
                    continue
                self._wake(who, now + what[0])
                return True
            if kind == "send":
                self._send(who, now, *what)
            elif kind == "post":
                self._post(rank, now, *what)
            else:
                until = self._until(rank, now, kind, what)
                if until is None or until > now:
                    if until is not None:
                        self._wake(who, until)
                    return until is not None and kind not in ("any", "some")
                self._see(rank, now, kind, what)
            rank.steps.popleft()
        return True

    def _post(self, rank: _Rank, now: float, number: int, source: Any, tag: Any) -> None:
        if found := self._found(rank, source, tag):
            rank.unexpected.remove(found)
            self._match(rank, number, found, now)
        else:
            rank.posted.append((number, source, tag))

    def _until(self, rank: _Rank, now: float, kind: str, what: list[Any]) -> float | None:
        """When a step that may wait is over, as far as is known now; None if a message must come before."""
        if kind == "sent":
            return self._sent(rank)
        if kind in ("any", "some"):
            pending = [number for number in what[0] if number not in rank.done]
            return min((rank.got[one].due for one in pending if one in rank.got), default=None if pending else now)
        if kind in ("test", "test sent", "iprobe") or what[0] in rank.done:
            return now
        message = rank.got.get(what[0]) if kind == "wait" else self._found(rank, what[1], what[2])
        return message.due if message else None

    def _sent(self, rank: _Rank) -> float | None:
        """When the last send is complete; None if one must be matched before."""
        times = [time for one in rank.sends for time in (one.end, one.acknowledged)]
        return None if None in times else max(times, default=0.0)  # type: ignore[type-var]

    def _see(self, rank: _Rank, now: float, kind: str, what: list[Any]) -> None:
        """Carry out a step that does not wait any longer."""
        if kind in ("sent", "test sent"):
            sent = self._sent(rank)
            over = sent is not None and sent <= now
            if kind == "sent":
                rank.seen.append((now,))
            elif rank.sends:
                rank.seen.append((now, over))
            rank.sends = [] if over else rank.sends
        elif kind in ("probe", "iprobe"):
            if what[0] not in rank.done:
                message = self._found(rank, what[1], what[2])
                if message and message.due <= now:
                    rank.unexpected.remove(message)
                    self._match(rank, what[0], message, now)
                    self._take(rank, now, [what[0]])
                else:
                    rank.seen.append((now,))
        else:
            pending = [number for number in (what[0] if kind != "wait" else what) if number not in rank.done]
            ready = [number for number in pending if number in rank.got and rank.got[number].due <= now]
            if kind in ("any", "some"):
                ready.sort(key=lambda number: rank.got[number].due)  # of equal ones in their order
            elif ready != pending:
                ready = []
            if pending:
                self._take(rank, now, ready[:1] if kind == "any" else ready)

    def _take(self, rank: _Rank, now: float, numbers: list[int]) -> None:
        """Complete these receives."""
        rank.done.update(numbers)
        messages = [rank.got[number] for number in numbers]
        rank.seen.append((now, *((one.source, one.tag, one.size) for one in messages)))
