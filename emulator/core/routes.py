"""The routes from one rank to the others, each made when first used, and connections that remember earlier messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator.core.cards import Queue
from emulator.core.clock import Clock
from emulator.core.message import LOOPBACK
from emulator.network.draws import stream

if TYPE_CHECKING:  # a rank of a job without a network loads none of its classes
    from emulator.core.network_changes import Change
    from emulator.network import Network, Path
    from emulator.network.model import NetworkSpec


class Route:
    """The route from this rank to another: constants of the path, and counts of what was sent.

    Attributes
    ----------
    back : latency of the opposite way
    here, loopback : it leads to this rank itself; to a rank on this host
    simple : to another rank, over no shared link, and each message takes the same time
    flags : those of every message that goes along it
    beta_out, gap : seconds per byte of this rank's card, and its least time between two messages
    queued : seconds that the latest message waited at links that hosts share
    last : for each context, when the first byte of the latest message arrives: messages do not overtake
    change : what faults have done to this way; None on a healthy one
    """

    __slots__ = (
        "_counted_from", "alpha", "back", "beta", "beta_out", "bytes", "change", "destination", "flags", "gap", "here",
        "host", "last", "links", "loopback", "path", "queue", "queued", "sequence", "simple", "stream", "varies",
    )  # fmt: skip

    def __init__(self, destination: int, host: int, path: Path, back: float, queue: Queue, stream: int) -> None:
        self.destination = destination
        self.host = host
        self.path: Path | Connection = path
        self.back = back
        self.queue = queue
        self.stream = stream
        self.alpha, self.beta, self.links = path.alpha, path.beta, path.links
        self.varies = path.jitter is not None or path.loss is not None
        self.here = self.loopback = self.simple = False
        self.flags = 0
        self.beta_out, self.gap, self.queued = path.beta, 0.0, 0.0
        self.sequence = self.bytes = self._counted_from = 0
        self.last: dict[int, float] = {}
        self.change: Change | None = None

    @property
    def messages(self) -> int:
        """Messages sent since the counts were last reset."""
        return self.sequence - self._counted_from

    def reset_counts(self) -> None:
        self._counted_from, self.bytes = self.sequence, 0


class Connection:
    """A path on which a message's extra time depends on its size and on earlier messages.

    Stands in a route in place of its path: gives each message's delay, and remembers its last use.

    Parameters
    ----------
    path, back : the way, and the latency of the opposite one
    clock : of the rank that uses it
    """

    def __init__(self, spec: NetworkSpec, path: Path, back: float, clock: Clock) -> None:
        self.jitter, self.loss = path.jitter, path.loss
        self._spec, self._path, self._clock = spec, path, clock
        self._round_trip = path.alpha + back
        self._window, self._used = 0.0, -1e300

    def delay(self, stream: int, sequence: int, size: int) -> float:
        """Seconds beyond alpha + n beta that message number `sequence` of a stream takes; the message is sent now."""
        return self._path.delay(stream, sequence, size) + self.begin(self._clock.t, size)

    def begin(self, time: float, size: int) -> float:
        """Seconds that segments and slow start add to a message sent at `time`, whose bytes then open the window."""
        spec, extra = self._spec, 0.0
        for segment in spec.segments:
            if size > segment.above:
                extra = segment.alpha - spec.alpha + size * max(0.0, segment.beta - self._path.beta)
        if spec.slow_start is not None and size:
            self._wake(time)
            extra += spec.slow_start.stalls(size, self._window, self._round_trip, self._path.beta)
            self.saw(time + extra, size)
        return extra

    def saw(self, time: float, size: int) -> None:
        """Note a message that the connection carries at a time, which opens its window by its bytes."""
        self._wake(time)
        self._used = max(self._used, time)
        self._window += size

    def _wake(self, time: float) -> None:
        """Restart from the initial window after a pause."""
        slow = self._spec.slow_start
        if slow is not None and time - self._used > slow.idle:
            self._window = slow.window


class Routes(dict[int, Route]):
    """The routes of one rank by destination; ``routes[rank]`` makes one that is missing.

    Parameters
    ----------
    card, memory : the queues that messages to other hosts, and to this host, leave by
    clock : the rank's
    """

    def __init__(self, network: Network, rank: int, seed: int, card: Queue, memory: Queue, clock: Clock) -> None:
        super().__init__()
        self.network, self.rank, self.seed = network, rank, seed
        self.host = network.host_of(rank)
        self._card, self._memory, self._clock = card, memory, clock
        self._changes: dict[str, Callable[[Route], None]] = {}

    def __missing__(self, rank: int) -> Route:
        route = self[rank] = self._make(rank)
        for change in self._changes.values():
            change(route)
        return route

    def _make(self, rank: int) -> Route:
        network, here = self.network, self.host
        host = network.host_of(rank)
        local = host == here
        back = network.path(host, here).alpha
        queue = self._memory if local else self._card
        route = Route(rank, host, network.path(here, host), back, queue, stream(self.seed, self.rank, rank))
        route.here, route.loopback = rank == self.rank, local
        route.flags = LOOPBACK if local else 0
        if not local:
            nic = network.hosts[here].nic
            route.beta_out, route.gap = nic.egress_beta, nic.gap
            if network.spec.segments or network.spec.slow_start:
                route.path, route.varies = Connection(network.spec, network.path(here, host), back, self._clock), True
            if network.spec.sharing == "packet":  # `emulator.core.flows` has what it takes
                route.beta_out, route.links = 0.0, ()
        route.simple = not (route.here or route.links or route.varies)
        return route

    def change_all(self, name: str, change: Callable[[Route], None]) -> None:
        """Change all routes, and those that are made later; a second change of this name replaces the first."""
        self._changes[name] = change
        for route in self.values():
            change(route)

    @property
    def changed(self) -> bool:
        """Whether a fault has changed a route from this rank."""
        return bool(self._changes) or any(route.change is not None for route in self.values())

    def restore(self) -> None:
        """Undo every change."""
        self._changes.clear()
        for route in self.values():
            route.change = None
