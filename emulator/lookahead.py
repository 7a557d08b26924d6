"""Looking at messages before their time, on an emulated network that is not tied to the wall clock.

Without pacing a message can be here physically while its emulated arrival lies far ahead, and to probe for it moves
the clock there. A program that takes messages from whoever is first, or that has deadlines, needs to know the
arrival first: it waits until everybody who owes it a message has sent one, and takes the earliest. That is
conservative simulation (K. M. Chandy, J. Misra: Distributed simulation, IEEE TSE 5(5), 1979), and it makes such a
program as exact and repeatable as one whose receives name their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any


def unpaced(comm: Any) -> bool:
    """Whether `comm` is emulated and its time is not tied to the wall clock."""
    engine = getattr(comm, "engine", None)
    return engine is not None and not engine.pacer.pace


def arrivals(comm: Any, sources: Iterable[int], tag: int) -> dict[int, float]:
    """When the next message of each source with this tag will have arrived; does not move the clock.

    Parameters
    ----------
    comm
        An emulated communicator.
    sources, tag
        Ranks and tag to look for.

    Returns
    -------
    dict
        Emulated seconds by source, for those whose message is physically here.

    Raises
    ------
    MPI.Exception
        A source is dead and has left no message.
    """
    comm.engine.progress()
    return {source: _due(message) for source, message in _found(comm, sources, tag).items()}


def _found(comm: Any, sources: Iterable[int], tag: int) -> dict[int, Any]:
    """The next message of each source with this tag, for those whose message has been taken in."""
    matcher = comm.engine.matcher(comm.context)
    found = {}
    for source in sources:
        message = matcher.find(comm.members[source], tag, None)
        if message is not None:
            found[source] = message
        elif error := comm.failure(comm.members[source], blocking=True):
            comm.raise_error(error)
    return found


def wait_for_all(comm: Any, sources: Sequence[int], tag: int) -> None:
    """Wait until a message of every source is here, where time is not tied to the wall: they are served in order then.

    Parameters
    ----------
    comm
        Any communicator; on one that is bare or paced there is nothing to wait for.
    sources, tag
        Ranks that owe a message with this tag.

    Raises
    ------
    MPI.Exception
        A source is dead and has left no message.
    """
    for request in all_sent(comm, sources, tag):
        request.Wait()


def all_sent(comm: Any, sources: Sequence[int], tag: int) -> list[Any]:
    """What `wait_for_all` waits for, as a request for a plan to yield; none where there is nothing to wait for."""
    if len(sources) < 2 or not unpaced(comm):
        return []
    return [_condition(comm, lambda: len(_found(comm, sources, tag)) == len(sources))]


def all_matched(comm: Any, receives: Sequence[Any]) -> list[Any]:
    """The same for receives that are posted: a request that is complete when every one of them has its message."""
    if len(receives) < 2 or not unpaced(comm):
        return []
    return [_condition(comm, lambda: all(receive.poll() for receive in receives))]


def _condition(comm: Any, holds: Callable[[], bool]) -> Any:
    from emulator.comm.persistent import Condition  # loaded already, since the communicator is emulated

    return Condition(comm, holds)


def advance(comm: Any, t: float) -> None:
    """Let emulated time `t` (seconds) be now for this rank, if it is not later already: it has waited."""
    clock = comm.engine.clock
    clock.t = max(clock.t, t)


def _due(message: Any) -> float:
    """When the message's last byte will be here, after those that its card serves before it."""
    if message.due is not None:
        return float(message.due)
    free = message.port.queue.cells[message.port.queue.cell]
    for *_, ahead in sorted(message.port.heap):
        free = max(free, ahead.first) + max(ahead.service, ahead.size * message.port.stretch)
        if ahead is message:
            break
    return float(free)
