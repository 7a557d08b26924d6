"""The engine of a simulated rank that may die: a message whose last byte has not left by then never arrives."""

from __future__ import annotations

from collections import deque
from typing import Any

from emulator.core.matching import Receive
from emulator.core.message import Arrival
from emulator.core.routes import Route
from emulator.sim.engine import SimulatedEngine


class MortalEngine(SimulatedEngine):
    """The engine of a rank that may die: it remembers its messages that are leaving; see `SimulatedEngine`."""

    engines: Any  # all of this class
    mortal = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stopped_at = 0.0
        self._leaving: deque[tuple[float, MortalEngine, Arrival]] = deque()
        self._takers: dict[int, Any] = {}  # receives of messages that are still leaving

    def leave(self, route: Route, context: int, size: int) -> tuple[float, float, float, float]:
        departed = super().leave(route, context, size)
        self.leaves = departed[1]
        return departed

    def admits(self, message: Arrival, end: float) -> bool:
        if self.killed:
            return False
        sender: MortalEngine = self.engines[message.source]
        now, leaving = self.loop.now, sender._leaving
        while leaving and leaving[0][0] <= now:
            _, receiver, gone = leaving.popleft()
            receiver._takers.pop(id(gone), None)
        if end > now:
            leaving.append((end, self, message))
        return True

    def deliver(self, message: Arrival) -> None:
        if self.admits(message, self.engines[message.source].leaves):
            super().deliver(message)

    def match(self, receive: Receive, message: Arrival) -> None:
        super().match(receive, message)
        for _, _, one in reversed(self.engines[message.source]._leaving):
            if one is message:
                self._takers[id(message)] = receive
                break

    def lose_unsent(self) -> None:
        """Withdraw the messages that have not left, because this rank dies now."""
        for end, receiver, message in self._leaving:
            if end > self.loop.now:
                receiver.withdraw(message)

    def withdraw(self, message: Arrival) -> None:
        """Cancel a message whose sender died before it had left: its receive waits again."""
        taker = self._takers.pop(id(message), None)
        if taker is not None:
            taker.message = taker.data = None
            if self.awaited is message:
                self.awaited = None
        elif message.unexpected:
            self.matchers[message.context].remove(message)
