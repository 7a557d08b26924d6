"""Network cards as queues: when a message leaves one, and when the other end has taken it in."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

from emulator.comm.board import Board
from emulator.comm.header import Arrival
from emulator.network import Path

FREE, ASKED = 0, 1


class Queue:
    """A resource that serves one message at a time: two cells, when it is free and the latest request it has seen.

    A request earlier than one already served, which had to queue behind it, is an inversion: the real order was
    the other way round, and what physically came first was served first. They are counted, not corrected.
    """

    __slots__ = ("board", "cell", "cells", "inversions", "lock")

    def __init__(self, cells: Any, cell: int, board: Board | None = None) -> None:
        self.cells = cells
        self.cell = cell
        self.board = board  # None when nobody else uses the queue: no lock then
        self.lock = 1 + cell
        self.inversions = 0

    def take(self, asked: float, seconds: float) -> float:
        """Occupy the resource for `seconds`, from emulated time `asked` at the earliest; returns the start."""
        cells, cell, board = self.cells, self.cell, self.board
        if board is not None:
            board.lock(self.lock)
        start = cells[cell]
        if start > asked:
            if asked < cells[cell + ASKED]:
                self.inversions += 1
        else:
            start = asked
        cells[cell] = start + seconds
        if asked > cells[cell + ASKED]:
            cells[cell + ASKED] = asked
        if board is not None:
            board.unlock(self.lock)
        return start


class Port:
    """The receiving side of a card: messages wait for service in order of their first byte."""

    __slots__ = ("heap", "queue", "stretch")

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.heap: list[Arrival] = []
        self.stretch = 0.0  # least seconds per byte; a card that was slowed down raises it

    def arrive(self, message: Arrival) -> None:
        """Put a message into the queue."""
        message.port = self
        heappush(self.heap, message)

    def serve(self, message: Arrival) -> float:
        """Serve everything up to `message`; returns its due time."""
        while message.due is None:
            following = heappop(self.heap)
            service = max(following.service, following.size * self.stretch)
            following.due = self.queue.take(following.first, service) + service
        return message.due


class Route:
    """The way from this rank to another: constants of the path, and what was sent along it so far."""

    __slots__ = (
        "alpha", "back", "beta", "beta_out", "bytes", "change", "destination", "gap", "here", "host", "last", "links",
        "loopback", "messages", "path", "queue", "sequence", "stream", "varies",
    )  # fmt: skip

    def __init__(self, destination: int, host: int, path: Path, back: float, queue: Queue, stream: int) -> None:
        self.destination = destination
        self.host = host
        self.path = path
        self.back = back  # latency of the opposite way
        self.queue = queue
        self.stream = stream
        self.alpha, self.beta, self.links = path.alpha, path.beta, path.links
        self.varies = path.jitter is not None or path.loss is not None
        self.here = self.loopback = False
        self.beta_out, self.gap = path.beta, 0.0
        self.sequence = self.messages = self.bytes = 0
        self.last: dict[int, float] = {}
        # What faults have done to this way; None on a healthy one (emulator.comm.conditions).
        self.change: Any = None
