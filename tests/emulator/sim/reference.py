"""A second, short simulation of message-passing programs, and random programs that both simulations must run alike.

A program gives for each rank a list of steps:

    ("compute", seconds)
    ("send", destination, tag, size, synchronous)    Isend or Issend
    ("post", number, source, tag)                    Irecv; None is a wildcard
    ("wait", number)                                 for the receive of that number
    ("probe", source, tag, matched)                  Probe and Recv of what was found; Mprobe if matched
    ("sent",)                                        wait for all sends

Hosts have one card each, which serves messages of one instant in the order (time, source, number of the source).
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from emulator.network import Host, Network, Nic, Path, Plan

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
    return Network(Plan("reference", "for tests", (host,), False, per_host, "block", ALPHA, BETA), ranks)


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
            steps.append(("sent",))
    return program


def _receives(envelopes: list[tuple[int, int]], turn: int, rng: random.Random) -> list[Step]:
    """Receive messages with these sources and tags: named in full, or with one wildcard; one by one, posted, probed."""
    blind = rng.randrange(3)
    wanted = [(None if blind == 1 else source, None if blind == 2 else tag) for source, tag in envelopes]
    rng.shuffle(wanted)
    way = rng.randrange(4)
    if way == 3:
        return [("probe", source, tag, rng.random() < 0.5) for source, tag in wanted]
    numbers = [1000 * turn + number for number in range(len(wanted))]
    posts = [("post", number, *one) for number, one in zip(numbers, wanted, strict=True)]
    waits: list[Step] = [("wait", number) for number in numbers]
    if way == 0:
        return [step for pair in zip(posts, waits, strict=True) for step in pair]
    if way == 1:
        rng.shuffle(waits)
    return [*posts, ("compute", rng.randrange(3) * _TICK), *waits]


def carry_out(comm: Any, program: list[list[Step]]) -> Trail:
    """Run a rank's steps on a communicator."""
    sends: list[Any] = []
    posted: dict[int, tuple[Any, Any]] = {}
    seen: Trail = []
    status = MPI.Status()
    for kind, *what in program[comm.Get_rank()]:
        if kind == "compute":
            emulator.compute(comm, what[0])
        elif kind == "send":
            destination, tag, size, synchronous = what
            sends.append((comm.Issend if synchronous else comm.Isend)(np.zeros(size, np.uint8), destination, tag))
        elif kind == "post":
            number, source, tag = what
            box = np.empty(_SIZES[-1], np.uint8)
            posted[number] = box, comm.Irecv(box, *_named(source, tag))
        elif kind == "sent":
            MPI.Request.Waitall(sends)
            sends = []
            seen.append((comm.now(),))
        else:
            if kind == "wait":
                posted.pop(what[0])[1].Wait(status)
            else:
                _receive_probed(comm, *_named(*what[:2]), what[2], status)
            seen.append((comm.now(), status.source, status.tag, status.Get_count(MPI.BYTE)))
    return seen


def _named(source: int | None, tag: int | None) -> tuple[int, int]:
    return MPI.ANY_SOURCE if source is None else source, MPI.ANY_TAG if tag is None else tag


def _receive_probed(comm: Any, source: int, tag: int, matched: bool, status: MPI.Status) -> None:
    box = np.empty(_SIZES[-1], np.uint8)
    if matched:
        comm.Mprobe(source, tag).Recv(box, status)
    else:
        comm.Probe(source, tag, status)
        comm.Recv(box, status.source, status.tag, status)


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
                self._ranks[who].turn += 1
                self._ranks[who].waits = not self._go_on(self._ranks[who], who, now)
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
        """Carry steps out until one takes time; False if a message must come before it ends."""
        while rank.steps:
            kind, *what = rank.steps[0]
            until: float | None = now
            told: tuple[Any, ...] = ()
            if kind == "compute":
                rank.steps.popleft()
                if not what[0]:
                    continue
                self._wake(who, now + what[0])
                return True
            if kind == "send":
                self._send(who, now, *what)
            elif kind == "post":
                number, source, tag = what
                if found := self._found(rank, source, tag):
                    rank.unexpected.remove(found)
                    self._match(rank, number, found, now)
                else:
                    rank.posted.append((number, source, tag))
            elif kind == "sent":
                times = [time for one in rank.sends for time in (one.end, one.acknowledged)]
                until = None if None in times else max(times, default=0.0)  # type: ignore[type-var]
            else:
                message = rank.got.get(what[0]) if kind == "wait" else self._found(rank, what[0], what[1])
                until = message.due if message else None
                told = (message.source, message.tag, message.size) if message else ()
            if until is None:
                return False
            if until > now:
                self._wake(who, until)
                return True
            if kind == "probe":
                rank.unexpected.remove(message)  # type: ignore[arg-type]
                self._match(rank, -1, message, now)  # type: ignore[arg-type]
            if kind == "sent":
                rank.sends = []
            if kind not in ("send", "post"):
                rank.seen.append((now, *told))
            rank.steps.popleft()
        return True
