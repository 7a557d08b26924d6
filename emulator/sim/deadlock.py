"""The report of a deadlock: who waits for whom, where in the program, the cycle, and messages that no receive took."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from emulator.comm.requests import EmulatedRequest
from emulator.core.message import ANY_SOURCE, Arrival
from emulator.core.waits_for import cycle
from emulator.errors import CheckFailed
from emulator.sim.engine import SimulatedEngine
from emulator.sim.joint import JointCall

_SHOWN = 8
_LIBRARY = ("emulator", "primitives")  # not the program


class DeadlockError(CheckFailed):
    """All ranks that have not ended wait, and no message under way can end a wait."""


def report(stuck: Sequence[SimulatedEngine], engines: Sequence[SimulatedEngine]) -> str:
    """Describe in a few lines why a simulation cannot continue."""
    lines = [f"deadlock at {max(engine.clock.t for engine in stuck):.9g} s: {len(stuck)} of {len(engines)} ranks wait:"]
    lines += [f"  rank {engine.rank} {_state(engine)}" for engine in _stopped_first(stuck)[:_SHOWN]]
    if len(stuck) > _SHOWN:
        lines.append(f"  ... and {len(stuck) - _SHOWN} more")
    if circle := _cycle(stuck):
        lines.append("  cycle: " + " -> ".join(map(str, circle)))
    waiting = {engine.rank for engine in stuck}
    dead = [engine.rank for engine in engines if engine.killed]
    if dead:
        lines.append(f"  dead: {_named(dead)}")
    ended = [str(engine.rank) for engine in engines if engine.rank not in waiting and not engine.killed]
    if ended:
        more = f" and {len(ended) - _SHOWN} more" if len(ended) > _SHOWN else ""
        lines.append(f"  ended: {', '.join(ended[:_SHOWN])}{more}")
    left = [(engine.rank, one) for engine in stuck for one in sorted(engine.unexpected(), key=_arrival)]
    lines += [
        f"  not received: {message.size} bytes with tag {message.tag} from rank {message.source} to rank {receiver}"
        for receiver, message in left[:_SHOWN]
    ]
    if len(left) > _SHOWN:
        lines.append(f"  ... and {len(left) - _SHOWN} more messages")
    return "\n".join([lines[0], ";\n".join(lines[1:])])  # an error of a command puts it into one line


def _arrival(message: Arrival) -> tuple[float, int, int]:
    return message.first, message.source, message.token


def _stopped_first(stuck: Sequence[SimulatedEngine]) -> list[SimulatedEngine]:
    return sorted(stuck, key=lambda engine: not engine.held)


def _state(engine: SimulatedEngine) -> str:
    return "is stopped" if engine.held else f"waits for {_awaited(engine)}{_place(engine)}"


def _awaited(engine: SimulatedEngine) -> str:
    operation = engine.operation or (engine.polled if isinstance(engine.polled, JointCall) else None)
    if operation is None:
        return "a message (it polls)"
    if isinstance(operation, JointCall):
        return f"{_named(operation.missing)} {operation.purpose}"
    destination = getattr(operation, "destination", None)
    if destination is not None:
        return f"rank {destination} to receive its synchronous message"
    source = operation.source
    who = "any rank" if source == ANY_SOURCE else f"rank {source}"
    tag = getattr(operation, "tag", -1) if isinstance(operation, EmulatedRequest) else -1
    return f"a message from {who}" + (f" with tag {tag}" if tag >= 0 else "")


def _named(ranks: Sequence[int]) -> str:
    """Name some ranks, of many only the first."""
    more = f" and {len(ranks) - _SHOWN} more" if len(ranks) > _SHOWN else ""
    return f"rank{'s' * (len(ranks) != 1)} {', '.join(map(str, ranks[:_SHOWN]))}{more}"


def _place(engine: SimulatedEngine) -> str:
    """The line of the program in which a rank waits."""
    frame: Any = engine.thread.gr_frame if engine.thread is not None else None
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _LIBRARY:
            return f" ({os.path.basename(frame.f_code.co_filename)}, line {frame.f_lineno}, in {frame.f_code.co_name})"
        frame = frame.f_back
    return ""


def _cycle(stuck: Sequence[SimulatedEngine]) -> list[int]:
    """Find ranks that wait for each other in a cycle; the first one is repeated at its end."""
    waits: dict[int, int] = {}
    for engine in stuck:
        operation = engine.operation
        target: int = getattr(operation, "destination", getattr(operation, "source", ANY_SOURCE))
        if target != ANY_SOURCE:
            waits[engine.rank] = target
    return cycle(waits)
