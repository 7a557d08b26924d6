"""Sends under way when their receiver dies: reported once, or not at all when the death is known already."""

from __future__ import annotations

from typing import Any

import pytest
from mpi4py import MPI

from primitives.inbox import Outbox

DEAD = 2


class Request:
    """A send that fails when it is looked at if its receiver is dead."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def Test(self) -> bool:
        if self.rank == DEAD:
            raise MPI.Exception(MPI.ERR_PROC_FAILED)
        return True

    Wait = Test


class Comm:
    """Just enough of a communicator to send."""

    def Isend(self, buffer: Any, rank: int, tag: int) -> Request:
        return Request(rank)


@pytest.mark.parametrize("known", [False, True])
def test_a_send_that_fails_late_is_news_once(known: bool) -> None:
    outbox = Outbox(Comm(), 1)  # type: ignore[arg-type]
    outbox.send(DEAD, b"")
    if known:
        outbox.forget(DEAD)
    failures = 0
    for _ in range(3 * Outbox.MOST):
        try:
            outbox.send(1, b"")
        except MPI.Exception:
            failures += 1
    assert failures == (0 if known else 1)


@pytest.mark.parametrize("known", [False, True])
def test_a_drain_goes_on_behind_a_failure(known: bool) -> None:
    outbox = Outbox(Comm(), 1)  # type: ignore[arg-type]
    for rank in (1, DEAD, 3, DEAD, 1):
        outbox.send(rank, b"")
    if known:
        outbox.forget(DEAD)
        outbox.drain()
    else:
        with pytest.raises(MPI.Exception):
            outbox.drain()
    outbox.drain()  # nothing is left
