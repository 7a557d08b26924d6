"""``pace="auto"``: find the smallest pace at which this machine delivers the emulated messages on time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.core.wall_clock import cores, perf_counter
from emulator.wire.pacing import GOOD_SHARE

_ROUNDS = 40
_TRIAL_S = 0.2
_STEP = 1.5
_MARGIN = 1.25
PATIENCE_S = 5.0
"""Longest time of a search, as far as no trial is under way (wall seconds)."""
SLOWEST = 20.0


def find_pace(comm: Any, tick: Callable[[float], object] = lambda seconds: None) -> tuple[float, str | None]:
    """Try paces on a stream of small messages between all ranks; collective, once, before the program starts.

    A receive is on time if its message has physically arrived before its deadline. The first guess is the pace at
    which the smallest latency lasts as long as an exchange takes here; from there up until trials succeed, or
    down until one fails, in steps of 1.5, for about five seconds. A margin of a quarter pays for what programs do
    beyond exchanging messages.

    The search ends at `SLOWEST`: at any practical pace a latency of some microseconds is less than the delays of this
    machine's scheduler, and a receive that names its source has the right time however late it returns.

    Parameters
    ----------
    tick : called after each trial with the seconds that have passed since the last call, of `PATIENCE_S` at most

    Returns
    -------
    pace, notice
        Wall seconds per emulated second; and None, or a line that says what to expect at the slowest pace.
    """
    engine = comm.engine
    floor = engine.shared.ranks_here / cores() if engine.clock.measured else 0.0
    if engine.sync is not None:
        floor = max(floor, 1.01 * engine.sync.smallest_latency / engine.pacer.latency)
    slowest = max(SLOWEST, floor)
    begin = perf_counter()
    _exchange(comm, _ROUNDS)
    step: float = comm.control.allreduce((perf_counter() - begin) / _ROUNDS, MPI.MAX)
    pace = min(max(2 * step / engine.pacer.latency, floor, 1e-3), slowest)
    late, told = _late(comm, pace), begin
    while comm.control.bcast(perf_counter() - begin < PATIENCE_S):
        now = perf_counter()
        tick(now - told)
        told, good = now, late <= GOOD_SHARE
        following = max(pace / _STEP, floor) if good else min(pace * _STEP, slowest)
        if following == pace:
            break
        then = _late(comm, following)
        if good and then > GOOD_SHARE:
            break
        pace, late = following, then
        if not good and then <= GOOD_SHARE:
            break
    pace = min(pace * _MARGIN, slowest)
    return pace, None if late <= GOOD_SHARE else _notice(pace, late)


def _notice(pace: float, late: float) -> str:
    return (
        f"--pace auto stops at {pace:.3g}, where {late:.0%} of small messages are late on this machine (1 % is good): "
        f"times stay right where receives name their sources, timeouts and ANY_SOURCE need a larger --pace K"
    )


def _late(comm: Any, pace: float) -> float:
    """Try a pace: the share of receives whose deadline has passed, over enough receives to average short stalls."""
    engine = comm.engine
    engine.set_pace(pace)
    comm.align()
    engine.pacer.reset_counts()
    _exchange(comm, max(_ROUNDS, min(10 * _ROUNDS, int(_TRIAL_S / (engine.pacer.latency * pace)))))
    deadlines, overruns, _ = engine.pacer.figures()
    total = np.array([deadlines, overruns])
    comm.control.Allreduce(MPI.IN_PLACE, total)
    return float(total[1] / max(1, total[0]))


def _exchange(comm: Any, rounds: int) -> None:
    """Exchange small messages around rings of changing distance."""
    rank, size = comm.rank, comm.size
    out, into = bytearray(8), bytearray(8)
    for turn in range(rounds):
        distance = 1 + turn % max(1, size - 1)
        comm.Sendrecv(out, (rank + distance) % size, 0, into, (rank - distance) % size, 0)


def adapt(comm: Any) -> None:
    """Raise the pace between repetitions if more than `GOOD_SHARE` of the last receives were late; collective."""
    engine = comm.engine
    deadlines, overruns, _ = engine.pacer.figures()
    recent = np.array([deadlines - engine.judged[0], overruns - engine.judged[1]])
    comm.control.Allreduce(MPI.IN_PLACE, recent)
    if recent[0] < 100 * comm.size:
        return
    engine.judged = deadlines, overruns
    if recent[1] > GOOD_SHARE * recent[0]:
        engine.set_pace(max(engine.pacer.pace, min(engine.pacer.pace * _STEP, SLOWEST)))
