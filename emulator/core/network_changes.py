"""The state of the emulated network while a job runs: cuts, slow ranks, weak cards, extra loss.

For fault drills. Nothing here is sent anywhere: a change concerns the rank that makes it, so every rank concerned makes
it at its own step, and its effect is a function of emulated time alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from emulator.core.cards import Route
from emulator.errors import UsageError
from emulator.network.draws import stream
from emulator.network.loss import Loss

_NEVER = 0.0


class Change:
    """What is different on one route.

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

    def holds(self, engine: Any, route: Route, context: int, tag: int, payload: Any, size: int, sync: Any) -> bool:
        """Keep (or lose) a message that meets a cut without a known end."""
        if engine.clock.t >= self.open_at:
            return False
        if self.lost:
            return True
        if self.open_at != float("inf"):
            return False
        self.waiting.append((route.destination, context, tag, bytes(payload), size, sync))
        return True

    def betas(self, beta: float, beta_out: float) -> tuple[float, float]:
        """Give the path's and the card's seconds per byte as they are now."""
        slow = beta_out * self.stretch_out
        return max(beta, slow), slow

    def delay(self, first: float, start: float, route: Route, size: int) -> float:
        """Give the arrival of a message's first byte, held back by a cut or by extra loss."""
        if start < self.open_at:
            first = max(first, self.open_at + route.alpha)
        for begin, until in self.windows:
            if begin <= start < until:
                first = max(first, until + route.alpha)
        if self.loss is not None and start >= self.loss_since:
            first += self.loss.delay(self.loss_stream, route.sequence, size)
        return first


class NetworkState:
    """Changes to the network as this rank sees it: ``comm.network_state``.

    ::

        state = comm.network_state
        state.cut([0, 1], [2, 3], until=comm.now() + 2.0)   # held back for two emulated seconds
        state.cut([0, 1], [2, 3]); ...; state.heal()        # held back until this rank heals its side
        state.cut([0], [1, 2, 3], lost=True)                # unreachable: messages vanish
        state.slow(4.0)          # this rank computes four times slower
        state.weaken(0.1)        # this rank's card runs at a tenth of its speed
        state.lose(0.02)         # two more packets in a hundred get lost, from now on
        state.restore()          # all as configured
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._engine = comm.engine
        self._slowdown = comm.engine.clock.slowdown

    def _routes(self, ranks: Iterable[int]) -> list[Route]:
        return [self._engine.routes[self._comm.members[rank]] for rank in ranks]

    def _change(self, route: Route) -> Change:
        if route.change is None:
            route.change = Change()
        change: Change = route.change
        return change

    def cut(self, left: Iterable[int], right: Iterable[int], until: float | None = None, lost: bool = False) -> None:
        """Cut the network between two sets of ranks, for what this rank sends from now on.

        Parameters
        ----------
        until : emulated time in seconds at which it heals by itself; None: when `heal` is called
        lost : what is sent meanwhile is lost for ever; otherwise it arrives after the cut has healed
        """
        for route in self._across(left, right):
            change = self._change(route)
            change.open_at = float("inf") if until is None else until
            change.lost = lost

    def _across(self, left: Iterable[int], right: Iterable[int]) -> list[Route]:
        """This rank's routes to the other side of a cut."""
        sides = set(left), set(right)
        if sides[0] & sides[1]:
            raise UsageError(f"a cut needs two sets without a common rank, both have {sorted(sides[0] & sides[1])}")
        rank = self._comm.rank
        return [route for mine, theirs in (sides, sides[::-1]) if rank in mine for route in self._routes(theirs)]

    def cut_at(self, left: Iterable[int], right: Iterable[int], windows: Iterable[tuple[float, float]]) -> None:
        """Cut the network between two sets of ranks in windows (from, until) of emulated time, later ones included."""
        windows = list(windows)
        for route in self._across(left, right):
            self._change(route).windows += windows

    def heal(self) -> None:
        """End all cuts on this rank's side; what was held back leaves now."""
        for route in self._engine.routes:
            change = route.change
            if change is None:
                continue
            change.open_at, change.lost, change.windows = _NEVER, False, []
            waiting, change.waiting = change.waiting, []
            for message in waiting:
                self._engine.keep(self._engine.send(*message)[1], message)

    def slow(self, factor: float) -> None:
        """Make this rank compute `factor` times slower than its host is configured; 1.0 heals it."""
        if not factor > 0:
            raise UsageError(f"a slow rank needs a factor > 0, got {factor}: 4 makes it four times slower")
        clock = self._engine.clock
        if clock.measured:
            clock.enter()
        clock.slowdown = self._slowdown * factor

    def weaken(self, fraction: float) -> None:
        """Run this host's card at `fraction` of its speed, both ways; every rank of the host calls it."""
        if not 0 < fraction <= 1:
            raise UsageError(f"a weak card needs a fraction in (0, 1], got {fraction}: 0.1 is a tenth of its speed")
        engine = self._engine
        nic = engine.network.hosts[engine.host].nic
        engine.nic.stretch = nic.ingress_beta / fraction if fraction < 1 else 0.0
        for route in engine.routes:
            if not route.loopback:
                self._change(route).stretch_out = 1 / fraction

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
        engine = self._engine
        for route in engine.routes:
            if route.loopback:
                continue
            change = self._change(route)
            change.loss = Loss(rate, **options) if rate else None
            change.loss_since = engine.clock.t if since is None else since
            change.loss_stream = stream(engine.seed + 1, engine.rank, route.destination)

    def restore(self) -> None:
        """Heal, and bring everything back to what is configured."""
        self.heal()
        self.slow(1.0)
        self._engine.nic.stretch = 0.0
        for route in self._engine.routes:
            route.change = None
