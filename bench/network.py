"""The cost of the network for a rank: a random draw, a message's jitter and loss, a copy of the whole network."""

from __future__ import annotations

import itertools
import pickle
import time
import timeit
from collections.abc import Callable

import numpy as np

from bench._common import Row, row
from emulator.network import load
from emulator.network.draws import stream, uniform
from emulator.network.files import parse

_ROUNDS = 9
_ENOUGH_S = 8.0
_VARYING = """
[link]
latency = "15 ms"
bandwidth = "20 Mbit/s"
[jitter]
distribution = "pareto"
scale = "4 ms"
[loss]
rate = "0.2 %"
correlation = "25 %"
"""


def rows(budget: float) -> list[Row]:
    """Time each piece for an equal share of `budget` seconds, and of no more than a few."""
    pair = stream(1, 2, 3)
    path = parse(_VARYING).between(0, 1)
    network = load("volunteers").sized(64)
    share = min(budget, _ENOUGH_S) / 4

    def philox() -> float:
        return np.random.Generator(np.random.Philox(key=7, counter=[0, 1, 2, 3])).random()

    draw, other = _interleaved(lambda: uniform(pair, 7), philox, share)
    number = itertools.count()  # message by message, as losses are drawn
    small = _interleaved(lambda: path.delay(pair, next(number), 100), None, share)[0]
    large = _interleaved(lambda: path.delay(pair, next(number), 1 << 20), None, share)[0]
    copy = _interleaved(lambda: pickle.loads(pickle.dumps(network)), None, share)[0]
    return [
        row("keyed uniform draw (other: numpy Philox)", draw * 1e6, "us", other * 1e6, most=1),
        row("jitter and loss of a message of 100 bytes", small * 1e6, "us", most=10),
        row("jitter and loss of a message of 1 MiB", large * 1e6, "us"),
        row("a rank's copy of a network of 64 hosts", copy * 1e6, "us", most=5000),
        row("the same, as it is sent", len(pickle.dumps(network)), "bytes"),
    ]


def _interleaved(one: Callable[[], object], other: Callable[[], object] | None, seconds: float) -> tuple[float, float]:
    """Median CPU seconds per call of one or two functions, by turns."""
    # CPU time, because what counts is the work that a message costs, whoever else wants the core.
    functions = [function for function in (one, other) if function is not None]
    timers = [timeit.Timer(function, timer=time.process_time) for function in functions]
    slice_s = seconds / (_ROUNDS * len(timers))
    counts = [max(1, int(slice_s / max(timer.timeit(100) / 100, 1e-9))) for timer in timers]
    taken: list[list[float]] = [[] for _ in timers]
    for _ in range(_ROUNDS):
        for timer, count, times in zip(timers, counts, taken, strict=True):
            times.append(timer.timeit(count) / count)
    medians = [float(np.median(times)) for times in taken]
    return medians[0], medians[-1]
