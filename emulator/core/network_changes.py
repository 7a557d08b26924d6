"""The state of the emulated network while a job runs: cuts, slow ranks, weak cards, extra loss.

For fault drills. Nothing here is sent anywhere: a change concerns the rank that makes it, so every rank concerned makes
it at its own step, and its effect is a function of emulated time alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from emulator.core.cards import Port
from emulator.core.clock import Clock
from emulator.core.routes import Route, Routes
from emulator.errors import UsageError
from emulator.network.draws import stream
from emulator.network.loss import Loss

_NEVER = 0.0


class Change:
    """Changes to one route, such as a cut or extra loss.

    Attributes
    ----------
    open_at : emulated time until which messages wait at a cut; infinity until it is healed
    windows : cuts that begin by themselves, (from, until) in emulated seconds
    lost : messages that meet the cut are lost instead
    stretch_out : the sender's card is this many times slower
    loss, loss_since, loss_stream : extra loss, when it began, and its own stream of draws
    """

    __slots__ = ("loss", "loss_since", "loss_stream", "lost", "open_at", "stretch_out", "waiting", "windows")

    def __init__(self) -> None:
        self.open_at = _NEVER
        self.lost = False
        self.stretch_out = 1.0
        self.loss: Loss | None = None
        self.loss_since = 0.0
        self.loss_stream = 0
        self.waiting: list[tuple[Any, ...]] = []
        self.windows: list[tuple[float, float]] = []

    def holds(self, now: float, destination: int, context: int, tag: int, payload: Any, size: int, sync: Any) -> bool:
        """Hold back a message at a cut without a known end, drop one at a cut that loses it; returns whether it did."""
        if now >= self.open_at:
            return False
        if self.lost:
            return True
        if self.open_at != float("inf"):
            return False
        self.waiting.append((destination, context, tag, bytes(payload), size, sync))
        return True

    def delay(self, first: float, start: float, route: Route, size: int) -> float:
        """When a message's first byte arrives, delayed by a cut or by extra loss."""
        if start < self.open_at:
            first = max(first, self.open_at + route.alpha)
        for begin, until in self.windows:
            if begin <= start < until:
                first = max(first, until + route.alpha)
        if self.loss is not None and start >= self.loss_since:
            first += self.loss.delay(self.loss_stream, route.sequence, size)
        return first


def _change(route: Route) -> Change:
    if route.change is None:
        route.change = Change()
    return route.change


class NetworkState:
    """Changes to the network as this rank sees them: ``comm.network_state``, which uses the communicator's ranks.

    ::

        state = comm.network_state
        state.cut([0, 1], [2, 3], until=comm.now() + 2.0)   # held back for two emulated seconds
        state.cut([0, 1], [2, 3]); ...; state.heal()        # held back until this rank heals its side
        state.cut([0], [1, 2, 3], lost=True)                # unreachable: messages vanish
        state.slow(4.0)          # this rank computes four times slower
        state.weaken(0.1)        # this rank's card runs at a tenth of its speed
        state.lose(0.02)         # two more packets in a hundred get lost, from now on
        state.restore()          # all as configured

    Parameters
    ----------
    routes, clock, card : the rank's routes, its clock, and the receiving side of its host's card
    resend : sends what a cut has held back; takes destination, context, tag, payload, size and synchronous request

    Attributes
    ----------
    members : rank of the engine of each rank that a cut can name
    on_cut : called with the ranks that a cut takes from this one, and its windows (from, until); None: nothing is
    """

    on_cut: Callable[[set[int], list[tuple[float, float]]], object] | None = None

    def __init__(
        self, routes: Routes, clock: Clock, card: Port, resend: Callable[..., None], members: Sequence[int]
    ) -> None:
        self._routes, self._clock, self._card, self._resend = routes, clock, card, resend
        self.members: Sequence[int] | Mapping[int, int] = members
        self._host = routes.network.hosts[routes.host]

    def _across(self, left: Iterable[int], right: Iterable[int]) -> set[int]:
        """The ranks on the other side of a cut, if this rank is on one side."""
        sides = set(left), set(right)
        if sides[0] & sides[1]:
            raise UsageError(f"a cut needs two sets without a common rank, both have {sorted(sides[0] & sides[1])}")
        here, members = self._routes.rank, self.members
        mine = [others for these, others in (sides, sides[::-1]) if here in (members[rank] for rank in these)]
        return mine[0] if mine else set()

    def _tell(self, others: set[int], windows: list[tuple[float, float]]) -> None:
        if others and self.on_cut is not None:
            self.on_cut(others, windows)

    def cut(self, left: Iterable[int], right: Iterable[int], until: float | None = None, lost: bool = False) -> None:
        """Cut the network between two sets of ranks, for what this rank sends from now on.

        Parameters
        ----------
        until : emulated time in seconds at which it heals by itself; None: when `heal` is called
        lost : what is sent meanwhile is lost for ever; otherwise it arrives after the cut has healed
        """
        others, end = self._across(left, right), float("inf") if until is None else until
        for rank in others:
            change = _change(self._routes[self.members[rank]])
            change.open_at, change.lost = end, lost
        self._tell(others, [(self._clock.t, end)])

    def cut_at(self, left: Iterable[int], right: Iterable[int], windows: Iterable[tuple[float, float]]) -> None:
        """Cut the network between two sets of ranks in emulated-time windows (from, until), later ones included."""
        others, windows = self._across(left, right), list(windows)
        for rank in others:
            _change(self._routes[self.members[rank]]).windows += windows
        self._tell(others, windows)

    def heal(self) -> None:
        """End all cuts on this rank's side; held-back messages leave now."""
        for route in list(self._routes.values()):
            change = route.change
            if change is None:
                continue
            change.open_at, change.lost, change.windows = _NEVER, False, []
            waiting, change.waiting = change.waiting, []
            for message in waiting:
                self._resend(*message)

    def slow(self, factor: float) -> None:
        """Make this rank compute `factor` times slower than its host is configured; 1.0 heals it."""
        if not factor > 0:
            raise UsageError(f"a slow rank needs a factor > 0, got {factor}: 4 makes it four times slower")
        if self._clock.measured:
            self._clock.enter()
        self._clock.slowdown = self._host.slowdown * factor

    def weaken(self, fraction: float) -> None:
        """Run this host's card at `fraction` of its speed, both ways; every rank of the host calls it."""
        if not 0 < fraction <= 1:
            raise UsageError(f"a weak card needs a fraction in (0, 1], got {fraction}: 0.1 is a tenth of its speed")

        def slow_down(route: Route) -> None:
            if not route.loopback:
                _change(route).stretch_out = 1 / fraction

        self._card.stretch = self._host.nic.ingress_beta / fraction if fraction < 1 else 0.0
        self._routes.change_all("weaken", slow_down)

    def lose(self, rate: float, since: float | None = None, **options: Any) -> None:
        """Lose packets of what this rank sends, on top of what the network loses.

        Parameters
        ----------
        rate : share of packets, in [0, 1); 0 ends it
        since : emulated time in seconds at which it begins; None: now
        options : further fields of `emulator.network.Loss`, such as ``rto`` in seconds
        """
        if not 0 <= rate < 1:
            raise UsageError(f"a loss rate lies in [0, 1), got {rate}: 0.01 loses one packet in a hundred")
        loss = Loss(rate, **options) if rate else None
        begin = self._clock.t if since is None else since
        seed, rank = self._routes.seed + 1, self._routes.rank

        def add_loss(route: Route) -> None:
            if not route.loopback:
                change = _change(route)
                change.loss, change.loss_since = loss, begin
                change.loss_stream = stream(seed, rank, route.destination)

        self._routes.change_all("lose", add_loss)

    def restore(self) -> None:
        """Undo every change: the network is again as configured."""
        self.heal()
        self.slow(1.0)
        self._card.stretch = 0.0
        self._routes.restore()
