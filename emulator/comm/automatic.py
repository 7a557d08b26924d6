"""``pace="auto"``: the smallest pace at which this machine delivers the emulated messages on time."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.clock import cores, perf_counter
from emulator.comm.pacing import GOOD_SHARE

_ROUNDS = 40
_STEP = 1.5
_MARGIN = 1.25
_PATIENCE_S = 5.0


def find_pace(comm: Any) -> float:
    """Try paces on a stream of small messages between all ranks; collective, once, before the program starts.

    A receive is on time if its message has physically arrived before its deadline. The first guess is the pace at
    which the smallest latency lasts as long as an exchange takes here; from there up until trials succeed, or
    down until one fails, in steps of 1.5, for about five seconds. A margin of a quarter pays for what programs do
    beyond exchanging messages.

    Returns
    -------
    float
        Wall seconds per emulated second.
    """
    engine = comm.engine
    floor = engine.board.ranks_here / cores() if engine.clock.measured else 0.0
    if engine.sync is not None:
        floor = max(floor, 1.01 * engine.sync.smallest_latency / engine.pacer.latency)
    begin = perf_counter()
    _exchange(comm)
    step: float = comm._real.allreduce((perf_counter() - begin) / _ROUNDS, MPI.MAX)
    pace = max(2 * step / engine.pacer.latency, floor, 1e-3)
    good = _works(comm, pace)
    # Where other programs crowd the machine no pace may be good enough: the fidelity will say so.
    while comm._real.bcast(perf_counter() - begin < _PATIENCE_S):
        following = max(pace / _STEP, floor) if good else pace * _STEP
        if following == pace:
            break
        works = _works(comm, following)
        if good and not works:
            break
        pace = following
        if works and not good:
            break
    return pace * _MARGIN


def _works(comm: Any, pace: float) -> bool:
    engine = comm.engine
    engine.set_pace(pace)
    comm.align()
    engine.pacer.forget()
    _exchange(comm)
    deadlines, overruns, _ = engine.pacer.figures()
    total = np.array([deadlines, overruns])
    comm._real.Allreduce(MPI.IN_PLACE, total)
    return bool(total[1] <= GOOD_SHARE * total[0])


def _exchange(comm: Any) -> None:
    """Exchange small messages around rings of changing distance."""
    rank, size = comm.rank, comm.size
    out, into = bytearray(8), bytearray(8)
    for turn in range(_ROUNDS):
        distance = 1 + turn % max(1, size - 1)
        comm.Sendrecv(out, (rank + distance) % size, 0, into, (rank - distance) % size, 0)


def adapt(comm: Any) -> None:
    """Between repetitions: choose a larger pace if the last ones were late; collective."""
    engine = comm.engine
    deadlines, overruns, _ = engine.pacer.figures()
    recent = np.array([deadlines - engine.judged[0], overruns - engine.judged[1]])
    comm._real.Allreduce(MPI.IN_PLACE, recent)
    if recent[0] < 100 * comm.size:
        return
    engine.judged = deadlines, overruns
    if recent[1] > GOOD_SHARE * recent[0]:
        engine.set_pace(engine.pacer.pace * _STEP)
