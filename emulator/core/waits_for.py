"""Who waits for whom: notes of ranks that wait, and cycles of ranks that wait for each other (deadlocks)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class WaitNotes(Protocol):
    """Where a rank notes its waits (`emulator.wire.wait_board`); a peer or a tag below 0 stands for any."""

    def waits(self, since: float, peer: int, tag: int) -> None:
        """Note that this rank has been waiting since `since` (perf_counter)."""

    def goes_on(self) -> None:
        """Note that this rank no longer waits."""


def cycle(waits: Mapping[int, int]) -> list[int]:
    """Find ranks that wait for each other in a cycle; the first one is repeated at its end, [] if there is none.

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
