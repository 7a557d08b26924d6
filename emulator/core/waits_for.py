"""Who waits for whom: where ranks note it, and circles of ranks of which each waits for the next one: deadlocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class WaitNotes(Protocol):
    """Where a rank notes its waits (`emulator.wire.wait_board`); a peer or a tag below 0 stands for any."""

    def waits(self, since: float, peer: int, tag: int) -> None:
        """Note that this rank has been waiting since then (perf_counter)."""

    def goes_on(self) -> None:
        """Note that this rank waits no longer."""


def cycle(waits: Mapping[int, int]) -> list[int]:
    """Find ranks that wait for each other in a circle; the first one is named again at its end, [] if there is none.

    Parameters
    ----------
    waits : for each rank that waits the one that it waits for
    """
    done: set[int] = set()
    for begin in waits:
        path: list[int] = []
        rank = begin
        while rank in waits and rank not in done and rank not in path:
            path.append(rank)
            rank = waits[rank]
        if rank in path:
            return [*path[path.index(rank) :], rank]
        done.update(path)
    return []
