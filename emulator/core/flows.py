"""Messages that share cards and links fairly, packet by packet, as TCP's connections do.

::

    |first              |due            a message alone: size * beta of the narrowest part
    |======= 1 ========|
    |first                          |due
    |== 1/2 ==|=== 1/2 ==|== 1 ==|     two that meet at a card get half of it each while both are there

The bytes from one rank to another form one stream, in the order in which they were sent. A message uses the sender's
card, the links on its way and the receiver's card all together, from the time at which its first byte is at the
receiver's card. The messages that are under way share what they use by max-min fairness: the narrowest resource is
divided equally among those that cross it, what they leave of the others goes to the rest in the same way.

So the end of a message depends on messages that begin later. `Flows.due` gives it with what is known: for good once
emulated time has reached it, because what begins later cannot change it any more; unpaced, with the messages that have
been sent by then. A message that comes too late to be taken into account gets what those that are through left free.

A message that meets no other costs a few look-ups. Where messages meet, their rates are worked out anew when an end is
asked for that a later message may have changed.

Source: Casanova and Marchal, "A network model for simulation of grid application" (2002); for the rates, see
`emulator.core.fair_rates`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from emulator.core.fair_rates import Flight, FluidModel, Key, Piece

if TYPE_CHECKING:
    from emulator.network import Network

_KEPT = 32  # pieces of each card that are kept for messages that come too late


class Flows:
    """All messages under way between the hosts of a network, and their rates.

    Attributes
    ----------
    forgotten : called with messages whose known end does not hold any more, because another one has been sent
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        hosts = len(network.hosts)
        self._links = 2 * hosts
        betas = [beta for host in network.hosts for beta in (host.nic.egress_beta, host.nic.ingress_beta)]
        betas += [link.beta for link in network.links]
        self._capacity = [1 / beta if beta else math.inf for beta in betas]
        self._whole = list(self._capacity)
        self.forgotten: Callable[[Iterable[Flight]], None] = lambda flights: None
        self.clear()

    def clear(self) -> None:
        """Forget every message."""
        self.open: dict[Key, Flight] = {}
        self.at: defaultdict[int, dict[Key, Flight]] = defaultdict(dict)
        self.through: defaultdict[int, list[Piece]] = defaultdict(list)  # what messages that are through have used
        self.until: dict[int, float] = {}  # by resource, when the last of these was through
        self.known: set[Key] = set()  # those under way whose end is worked out
        self.ended: dict[tuple[int, int], float] = {}  # by stream, when its latest message was through
        # Begin and end of messages that are through and that their receivers have not asked for.
        self.dues: dict[Key, tuple[float, float]] = {}

    # -- what ranks ask

    def add(self, key: Key, destination: int, first: float, size: float, beta: float) -> bool:
        """Add a message at its sending; it takes at least `beta` seconds per byte, even alone.

        Returns whether it comes too late: another message is through that it would have shared a card with.
        """
        network = self.network
        here, there = network.host_of(key[0]), network.host_of(destination)
        links = network.path(here, there).links
        uses = [self._cards(here)[0], *(self._links + link for link in links), self._cards(there)[1]]
        flight = Flight(key, destination, first, size, 1 / beta if beta else math.inf, uses)
        begin = max(first, self.ended.get(flight.stream, 0.0))
        late = any(self.until.get(use, 0.0) > begin for use in uses)
        self._enter(flight)
        if self.known:
            changed = [each for each in self._together(flight) if each.due is not None and each.due > begin]
            self._forget(changed)
            self.forgotten(changed)
        return late

    def due(self, key: Key, now: float) -> tuple[float, float] | None:
        """When a message begins and ends at the receiver's card; final if it has ended by `now`.

        None if it has not been sent, because it waits for its receive.

        Parameters
        ----------
        now : no message that is sent later begins before; infinite: that is not known, and the answer is made to hold
        """
        flight = self.open.get(key)
        if flight is not None:
            ends = self._ends(flight)
            if ends > now:
                return self._begin(flight), ends
            for each in self._together(flight):
                before = each.stream == flight.stream and (each.first, each.key) <= (flight.first, key)
                if before if now == math.inf else each.due is not None and each.due <= now:
                    self._end(each, now)
        known = self.dues.get(key)
        if known is not None and known[1] <= now:  # else another rank has seen more of the time than this one
            del self.dues[key]
        return known

    def expected(self, key: Key) -> float | None:
        """When a message will have ended as far as is known, None if it has not been sent; changes nothing."""
        flight = self.open.get(key)
        if flight is None:
            known = self.dues.get(key)
            return None if known is None else known[1]
        return self._ends(flight)

    def _ends(self, flight: Flight) -> float:
        if flight.due is None:
            self._work_out(flight)
        ends: Any = flight.due
        return float(ends)

    def idle(self, host: int) -> float:
        """When all messages out of a host and into it have ended, as far as is known."""
        uses = self._cards(host)
        flights = [flight for use in uses for flight in self.at[use].values()]
        return max([self._ends(flight) for flight in flights] + [self.until.get(use, 0.0) for use in uses])

    def weaken(self, host: int, beta: float) -> None:
        """Slow a host's card to `beta` seconds per byte into it (0: as configured), and out of it in proportion.

        For whole messages: those under way, too, are slower from their beginnings.
        """
        into = self._whole[self._cards(host)[1]]
        fraction = 1 / (beta * into) if beta else 1.0
        for use in self._cards(host):
            self._capacity[use] = self._whole[use] * fraction
            self._forget(one for each in self.at[use].values() for one in self._together(each))

    # -- bookkeeping

    @staticmethod
    def _cards(host: int) -> tuple[int, int]:
        """The numbers of a host's two card sides: out of it and into it."""
        return 2 * host, 2 * host + 1

    def _enter(self, flight: Flight) -> None:
        self.open[flight.key] = flight
        for use in flight.uses:
            self.at[use][flight.key] = flight

    def _forget(self, flights: Iterable[Flight]) -> None:
        """Forget computed ends that no longer hold."""
        for flight in flights:
            flight.due = None
            self.known.discard(flight.key)

    def _together(self, flight: Flight) -> list[Flight]:
        """All messages that share a resource with this one, directly or through others."""
        found, seen, ahead = {flight.key: flight}, set(flight.uses), list(flight.uses)
        while ahead:
            for key, other in self.at[ahead.pop()].items():
                if key not in found:
                    found[key] = other
                    ahead += [use for use in other.uses if use not in seen]
                    seen.update(other.uses)
        return list(found.values())

    def _begin(self, flight: Flight) -> float:
        known: Any = flight.pieces[0][0] if flight.pieces else flight.due
        return float(known)

    def _end(self, flight: Flight, now: float) -> None:
        """Record that a message has ended: later messages no longer change its rate."""
        due: Any = flight.due
        del self.open[flight.key]
        self.known.discard(flight.key)
        self.ended[flight.stream] = due
        self.dues[flight.key] = self._begin(flight), due
        for use in flight.uses:
            rest, through = self.at[use], self.through[use]
            del rest[flight.key]
            if not flight.pieces:
                continue
            self.until[use] = max(self.until.get(use, 0.0), flight.pieces[-1][1])
            through += flight.pieces
            if len(through) <= _KEPT:
                continue
            through.sort()
            needed = min([now, *(other.first for other in rest.values())])
            before = bisect_right(through, needed, key=lambda piece: piece[1])
            del through[: max(0, min(before, len(through) - _KEPT))]

    # -- who gets what

    def _work_out(self, flight: Flight) -> None:
        """Follow all messages that share a resource with this one, directly or not, to their ends."""
        flights = self._together(flight)
        self.known.update(each.key for each in flights)
        if self._goes_alone(flight, flights):
            return
        streams: dict[tuple[int, int], list[Flight]] = {}
        for each in sorted(flights, key=lambda one: (one.first, one.key), reverse=True):
            each.pieces = []
            streams.setdefault(each.stream, []).append(each)  # the next one is the last
        ready = {stream: max(waiting[-1].first, self.ended.get(stream, 0.0)) for stream, waiting in streams.items()}
        time = min(ready.values())
        uses = {use for each in flights for use in each.uses}
        through = {use: [piece for piece in self.through[use] if piece[1] > time] for use in uses}
        run = FluidModel(self._capacity, through)
        while streams:
            active = [waiting[-1] for stream, waiting in streams.items() if ready[stream] <= time]
            following = min((at for at in ready.values() if at > time), default=math.inf)
            for ended in run.step(time, following, active):
                ended.due = run.time
                waiting = streams[ended.stream]
                waiting.pop()
                if waiting:
                    ready[ended.stream] = max(waiting[-1].first, run.time)
                else:
                    del streams[ended.stream], ready[ended.stream]
            time = run.time

    def _goes_alone(self, flight: Flight, flights: Iterable[Flight]) -> bool:
        """Follow a message to its end if all others end before it begins; returns whether that is so."""
        begin = max(flight.first, self.ended.get(flight.stream, 0.0))
        if any(self.until.get(use, 0.0) > begin for use in flight.uses):
            return False
        if not all(each is flight or (each.due is not None and each.due <= begin) for each in flights):
            return False
        rate = min([flight.most, *(self._capacity[use] for use in flight.uses)])
        if not rate:
            return False
        flight.due = begin + flight.size / rate
        flight.pieces = [(begin, flight.due, rate)] if flight.due > begin else []
        return True

    # -- as plain data, for ranks that are processes

    def dump(self) -> Any:
        """Return the whole state as lists and tuples."""
        flights = [
            (one.key, one.destination, one.first, one.size, one.most, one.uses, one.due, one.pieces)
            for one in self.open.values()
        ]
        through = {use: pieces for use, pieces in self.through.items() if pieces}
        return flights, through, self.until, self.ended, self.dues, self._capacity

    def load(self, state: Any) -> None:
        """Replace the state by one that `dump` returned."""
        flights, through, until, ended, dues, capacity = state
        self.clear()
        for *known, due, pieces in flights:
            flight = Flight(*known)
            flight.due, flight.pieces = due, pieces
            self._enter(flight)
            if due is not None:
                self.known.add(flight.key)
        self.through.update(through)
        self.until, self.ended, self.dues, self._capacity = until, ended, dues, capacity
