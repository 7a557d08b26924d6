"""Collectives that all ranks of a communicator begin at almost the same time: the steps of all are made together.

Most ranks of a simulated job do the same: they compute for as long, and begin an all-reduce together. If nothing else
is under way then, its messages meet no others, and need not pass the event loop one by one. Every rank's own `steps`
run, on its own arrays, in rounds::

    rank      0           1           2         ...
    round 1   send        send        send          each waits for its first message
    round 2   add, send   add, send   add, send     each waits for its second one

A message is copied to where its receive wants it. What each rank does is recorded, and
`emulator.sim.schedule` gives from that the times of all ranks, to the bit those of the event loop; tests
compare the two. When the same collective objects run again their schedule is known. Where ranks turn out to do unlike
things, or a replay would not be exact, every rank makes its recorded steps in the event loop, with phantoms: payloads
are there.

So do collectives that say what makes all ranks do the same (`uniform`), of ranks whose messages are simple
(`emulator.sim.simple_messages`), on a network without shared links or hosts. An operation of the program's own may look
at the clock, compute for some time or send messages, so that it is applied in the event loop alone. Ranks wait for each
other for one latency alpha of the network and no longer: no message of a rank that has begun reaches another one
before, so that nothing is lost if they do not come together after all. Some come later, other messages are under way,
an instrument listens, ranks may die, a program has modules of its own on each rank: then each rank goes its way through
the event loop, from the instant at which it began.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import greenlet
import numpy as np

from emulator.carrier import Carrier
from emulator.core.cards import ASKED, FREE, PrivateQueue, Queue
from emulator.core.instruments import Instrument
from emulator.network import Network
from emulator.sim.collectives import phantom
from emulator.sim.collectives.common_steps import ALONE, CommonSteps
from emulator.sim.collectives.recording import SEND, NoReplay, Step
from emulator.sim.schedule import Roads, State, check, play

LEAST = 4
"""Fewer ranks have so few messages that the event loop is as quick."""


def applies(comm: Any, collective: Any) -> bool:
    """Whether a rank may make the steps of a collective together with the others."""
    engine = comm.engine
    return (
        collective.uniform is not None and collective.comm is comm and comm._size >= LEAST
        and (collective.foreign is None or collective.foreign is phantom.ignore)
        and collective.schedule is not ALONE and engine.quick and not engine.mortal and not engine.instruments
        and engine.clock.t >= engine.loop.now and greenlet.gettrace() is None and _suits(engine.network)
    )  # fmt: skip


def _suits(network: Network) -> bool:
    """Whether a replay is exact there and no links or hosts are shared, so that ranks may wait for each other."""
    try:
        check(network)
    except NoReplay:
        return False
    return not network.links and len(network.hosts) == network.ranks


@contextmanager
def apart(carried: Carrier) -> Iterator[None]:
    """Temporarily send a rank's messages through the event loop."""
    listener = Instrument()
    carried.instruments.append(listener)
    try:
        yield
    finally:
        carried.instruments.remove(listener)


def run(comm: Any, collective: Any) -> bool:
    """Begin a collective with the other ranks; returns whether it is complete, else this rank continues alone."""
    shared = comm.control.shared
    if shared.lockstep is None:
        shared.lockstep = Lockstep(comm)
    run: Lockstep = shared.lockstep
    return run.join(comm, collective)


class Lockstep:
    """One collective whose ranks move together.

    Attributes
    ----------
    open : ranks may still join
    complete : all ranks have made all steps, and their clocks are set
    """

    def __init__(self, comm: Any) -> None:
        self.size, self._shared = comm._size, comm.control.shared
        self.open, self.complete = True, False
        self._comms: list[Any] = [None] * self.size
        self._collectives: list[Any] = [None] * self.size
        self._joined = 0
        self._made: CommonSteps | None = None
        self._handling: list[Any] = []  # of floating-point errors, which each rank chooses

    def join(self, comm: Any, collective: Any) -> bool:
        """Join a rank to the collective, and return whether it is complete; see `run`."""
        engine, place = comm.engine, comm._rank
        self._comms[place], self._collectives[place] = comm, collective
        self._handling.append(np.geterr())
        self._joined += 1
        if self._joined == 1:
            loop, patience = engine.loop, _latency(engine.network)
            if patience:
                loop.call_at(loop.now + patience, self._close)
            else:
                loop.call_last(self._close)
        if self._joined == self.size:
            if self._may():
                self._run()
            self._close()
        while self.open:
            engine.sleep()
        if self.complete:
            engine.hold(engine.clock.t)
        elif self._made is not None and self._made.recorded:
            self._made.follow(place, comm)
            if place in self._made.failures:
                raise self._made.failures[place]
            return True
        return self.complete

    def _close(self) -> None:
        """Let no more ranks join; those that have continue at the collective's end, or alone from its beginning."""
        if not self.open:
            return
        self.open, self._shared.lockstep = False, None
        for comm in self._comms:
            if comm is not None:
                loop = comm.engine.loop
                loop.wake(comm.engine, comm.engine.clock.t if self.complete else comm.engine.since)

    # -- whether nothing else is under way

    def _may(self) -> bool:
        """Whether all ranks are about to do the same, and no other message can interfere."""
        first = self._comms[0]
        engine, network = first.engine, first.engine.network
        if len({(type(one), one.tag, one.uniform) for one in self._collectives}) > 1 or engine.loop.pending > 1:
            return False
        if any(one != self._handling[0] for one in self._handling):
            return False
        if not Roads(network).alike and tuple(first.members) != tuple(range(network.ranks)):
            return False
        members = {comm.engine.rank for comm in self._comms}
        return all(_undisturbed(comm.engine, comm.context) for comm in self._comms) and all(
            one.thread.dead or (one.sleeping and one.wake_at == math.inf)
            for one in engine.engines
            if one.rank not in members
        )

    # -- the steps of all ranks

    def _run(self) -> None:
        """Make all steps, and set the clocks if a replay is exact; do nothing if a known schedule has no exact one."""
        known: list[Step] | None = self._collectives[0].schedule
        if any(one.schedule is not known for one in self._collectives):
            known = None
        try:
            state = None if known is None else self._times(known)
        except NoReplay:
            return
        self._made = CommonSteps(self._collectives, record=state is None or _may_raise(self._handling[0]))
        for comm in self._comms:
            comm.lockstep, comm.engine.quick = self._made, False
        try:
            self._made.move()
        finally:
            for comm in self._comms:
                comm.lockstep, comm.engine.quick = None, True
        if self._made.failures:
            return
        if known is None:
            known = self._made.schedule()
            for one in self._collectives:
                one.schedule = known
        if state is None:
            with suppress(NoReplay):
                state = self._times(known) if known is not ALONE else None
        if state is not None:
            _set_clocks([comm.engine for comm in self._comms], known, state)
            self.complete = True

    # -- their times

    def _times(self, steps: list[Step]) -> State:
        """Clocks and cards after the steps, from their present values."""
        engines = [comm.engine for comm in self._comms]
        clocks = np.array([engine.clock.t for engine in engines])
        out, into = ([engine.queues[which] for engine in engines] for which in (0, 1))
        cards = np.array([_cell(out, FREE), _cell(into, FREE), _cell(into, ASKED)])
        return play(steps, self.size, engines[0].network, clocks, cards)


def _may_raise(handling: Any) -> bool:
    """Whether a floating-point error would raise an exception in an operation that has worked before."""
    harmless = {"ignore"} if any(one[0] == "error" for one in warnings.filters) else {"ignore", "warn"}
    return not harmless.issuperset(handling.values())


def _latency(network: Network) -> float:
    """The least latency in seconds between two hosts, 0 if it would take long to find."""
    return network.between(0, 1).alpha if Roads(network).alike else 0.0


def _undisturbed(engine: Any, context: int) -> bool:
    """Whether a rank's messages are simple and none is under way to it."""
    return bool(
        engine.quick and not engine.instruments and not engine.nic.heap and not engine.loopback.heap
        and not engine.later and not engine.nic.stretch and engine.matchers[context].idle and not engine.routes.changed
        and all(type(queue) is PrivateQueue for queue in engine.queues)
    )  # fmt: skip


def _cell(queues: list[Queue], cell: int) -> list[float]:
    return [queue.cells[queue.cell + cell] for queue in queues]


def _set_clocks(engines: list[Any], steps: list[Step], state: State) -> None:
    """Set clocks, cards and counts of all ranks as the messages would have."""
    size = len(engines)
    t, egress, ingress, latest = (
        np.broadcast_to(one, size).tolist() for one in (state.t, state.egress, state.ingress, state.latest)
    )
    sent: dict[tuple[int, bool], list[Any]] = {}
    for kind, number, xor, size_ in steps:
        if kind == SEND:
            total = sent.setdefault((number, xor), [0, 0])
            total[0] += 1
            total[1] = total[1] + size_
    for place, engine in enumerate(engines):
        engine.clock.t = t[place]
        out, into = engine.queues[:2]
        out.cells[out.cell + FREE], out.cells[out.cell + ASKED] = egress[place], t[place]
        into.cells[into.cell + FREE], into.cells[into.cell + ASKED] = ingress[place], latest[place]
        engine.count_sent(state.sent)
        for (number, xor), (count, total) in sent.items():
            peer = place ^ number if xor else (place + number) % size
            route = engine.routes[engines[peer].rank]
            route.sequence += count
            route.bytes += total if isinstance(total, int) else int(total[place])
