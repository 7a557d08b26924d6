"""The heart: a thread that stamps the board while the rank's own thread computes, or waits inside MPI."""

from __future__ import annotations

import threading

from faults.record.status_board import StatusBoard


def start(board: StatusBoard, member: int, every_s: float) -> threading.Event:
    """Beat every `every_s` seconds until the returned event is set or the process ends."""
    stop = threading.Event()

    def beat() -> None:
        board.take_heart(member)
        while not stop.wait(every_s):
            board.beat(member)

    threading.Thread(target=beat, name="pulse", daemon=True).start()
    return stop
