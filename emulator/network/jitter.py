"""Jitter: the part of a path's latency that differs from message to message.

Every distribution turns uniform draws into seconds >= 0 by a pure function, so that a message's jitter depends
on its key alone (`emulator.network.draws`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from emulator.network.draws import uniform


@dataclass(frozen=True, slots=True)
class Jitter:
    """Base class of extra one-way latency in seconds, drawn anew for every message; never negative."""

    uniforms: ClassVar[int] = 1  # draws that a sample takes

    def sample(self, first: float, second: float) -> float:
        """Turn independent uniforms in [0, 1) into seconds >= 0; `second` is used only where `uniforms` is 2."""
        raise NotImplementedError

    def draw(self, key: int) -> float:
        """The jitter in seconds of the message with this key."""
        return self.sample(uniform(key, 0), uniform(key, 1) if self.uniforms > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Constant(Jitter):
    """Jitter of the same `value` (seconds) for every message."""

    value: float

    def sample(self, first: float, second: float) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform(Jitter):
    """Jitter that is equally likely between `low` and `high` seconds."""

    low: float
    high: float

    def sample(self, first: float, second: float) -> float:
        return self.low + (self.high - self.low) * first


@dataclass(frozen=True, slots=True)
class Normal(Jitter):
    """Jitter with a normal distribution of mean `centre` and standard deviation `deviation` (s), cut off at zero."""

    uniforms: ClassVar[int] = 2
    centre: float
    deviation: float

    def sample(self, first: float, second: float) -> float:
        # Box and Muller; 1 - first lies in (0, 1], where the logarithm is finite.
        radius = math.sqrt(-2 * math.log(1 - first))
        return max(0.0, self.centre + self.deviation * radius * math.cos(2 * math.pi * second))


@dataclass(frozen=True, slots=True)
class Exponential(Jitter):
    """Exponential jitter with mean `scale` seconds: the waiting time in a memoryless queue."""

    scale: float

    def sample(self, first: float, second: float) -> float:
        return -self.scale * math.log(1 - first)


@dataclass(frozen=True, slots=True)
class Pareto(Jitter):
    """Pareto jitter from zero on (Lomax): P(jitter > x) = (1 + x / scale) ** -shape, a heavy tail.

    The mean is scale / (shape - 1) seconds for shape > 1 and infinite otherwise.
    """

    scale: float
    shape: float

    def sample(self, first: float, second: float) -> float:
        return self.scale * ((1 - first) ** (-1 / self.shape) - 1)


@dataclass(frozen=True, slots=True)
class Empirical(Jitter):
    """Jitter from measured values: `table` (s, rising) holds equally spaced quantiles, linear in between."""

    table: tuple[float, ...]

    def sample(self, first: float, second: float) -> float:
        position = first * (len(self.table) - 1)
        below = int(position)
        if below + 1 >= len(self.table):
            return self.table[-1]
        share = position - below
        return self.table[below] * (1 - share) + self.table[below + 1] * share
