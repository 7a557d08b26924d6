"""Message schedules of whole steps, computing included, for `replay`: those of a design's skeleton.

A closed form prices one exchange whose ranks begin together. In a running job they do not: each computes for its own
time first, servers answer while others still push, and a rank that waits for neighbours only hears of a slow rank later
(max-plus recurrences: Baccelli, Cohen, Olsder and Quadrat, "Synchronization and Linearity", 1992). Each function gives
every rank's program for the computing times of `computes`, a row for each exchange and a column for each of p ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.costs.replay import Compute, Drain, Receive, Send, Step
from emulator.costs.schedules import Schedule

Times = NDArray[np.float64]


def all_reduces(computes: Times, schedule: Schedule, count: int, itemsize: int) -> list[list[Step]]:
    """Schedule of steps that compute, then sum over all ranks."""
    p = computes.shape[1]
    once = schedule(p, count, itemsize) if p > 1 else [[]]
    return [[step for row in computes for step in (Compute(row[rank]), *once[rank])] for rank in range(p)]


def gossips(
    computes: Times, targets: Sequence[Sequence[Sequence[int]]], size: float, late: float = 0
) -> list[list[Step]]:
    """Schedule of steps that compute, then send `size` bytes to neighbours: rank i to ``targets[k][i]`` in turn.

    A rank receives in the order in which these messages are sent. With `late` > 0 a message is waited for so many
    exchanges later, infinite: never; what a rank has sent before must have left its card before it sends again.
    """
    p = computes.shape[1]
    programs: list[list[Step]] = [[] for _ in range(p)]
    heard = [_sources(each, p) for each in targets]
    for number, row in enumerate(computes):
        for rank in range(p):
            programs[rank] += [Compute(row[rank]), *([Drain()] if late else [])]
            programs[rank] += [Send(target, size) for target in targets[number % len(targets)][rank]]
        for rank in range(p) if number >= late else ():
            due = heard[int(number - late) % len(heard)][rank]
            programs[rank] += [*map(Receive, due), *([] if late else [Drain()])]
    return programs


def _sources(targets: Sequence[Sequence[int]], p: int) -> list[list[int]]:
    """The ranks from which each rank receives, in the order in which their messages leave."""
    slots = sorted((slot, source, target) for source, each in enumerate(targets) for slot, target in enumerate(each))
    return [[source for _, source, target in slots if target == rank] for rank in range(p)]


def services(computes: Times, servers: int, push: float, pull: float) -> list[list[Step]]:
    """Schedule of steps that compute, push to each server and pull the sum: `servers` ranks first, then p workers."""
    p = computes.shape[1]
    workers = range(servers, servers + p)
    each: list[Step] = [*map(Receive, workers), *(Send(worker, pull) for worker in workers)]
    programs = [each * len(computes) for _ in range(servers)]
    told: list[Step] = [*(Send(server, push) for server in range(servers)), *map(Receive, range(servers))]
    return programs + [[step for seconds in column for step in (Compute(seconds), *told)] for column in computes.T]
