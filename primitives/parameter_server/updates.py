"""Updates that servers apply: w <- update(w, g), on the touched rows only, in place.

Rows are a slice (dense) or an array of distinct positions (sparse); state (velocity, squared sums) changes on the
same rows only, as in sparse optimisers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError

Array = NDArray[Any]
Rows = slice | NDArray[np.int64]


class Update:
    """An update rule; its state (velocity, squared sums) is kept beside the table's values."""

    def state(self, values: Array) -> list[Array]:
        """Make the state for `values`."""
        return []

    def apply(self, values: Array, state: list[Array], rows: Rows, gradient: Array) -> None:
        """Change ``values[rows]`` (and the state's rows) in place."""
        raise NotImplementedError


@dataclass(frozen=True)
class Add(Update):
    """Update w += g: counts, sums, or gradients that workers have scaled."""

    def apply(self, values: Array, state: list[Array], rows: Rows, gradient: Array) -> None:
        values[rows] += gradient


@dataclass(frozen=True)
class SGD(Update):
    """Update w -= rate g."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        _positive("rate", self.rate)

    def apply(self, values: Array, state: list[Array], rows: Rows, gradient: Array) -> None:
        values[rows] -= self.rate * gradient


@dataclass(frozen=True)
class Momentum(Update):
    """Update v = mu v + g; w -= rate v, or with Nesterov's look-ahead w -= rate (g + mu v)."""

    rate: float = 0.1
    mu: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        _positive("rate", self.rate)
        if not 0 <= self.mu < 1:
            raise UsageError(f"momentum must lie in [0, 1), got {self.mu}: 0.9 is usual")

    def state(self, values: Array) -> list[Array]:
        return [np.zeros_like(values)]

    def apply(self, values: Array, state: list[Array], rows: Rows, gradient: Array) -> None:
        velocity = self.mu * state[0][rows] + gradient
        state[0][rows] = velocity
        values[rows] -= self.rate * (gradient + self.mu * velocity if self.nesterov else velocity)


@dataclass(frozen=True)
class Adagrad(Update):
    """Update h += g g; w -= rate g / (sqrt(h) + epsilon) (Duchi, Hazan, Singer 2011)."""

    rate: float = 0.1
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _positive("rate", self.rate)
        _positive("epsilon", self.epsilon)

    def state(self, values: Array) -> list[Array]:
        return [np.zeros_like(values)]

    def apply(self, values: Array, state: list[Array], rows: Rows, gradient: Array) -> None:
        squares = state[0][rows] + gradient * gradient
        state[0][rows] = squares
        values[rows] -= self.rate * gradient / (np.sqrt(squares) + self.epsilon)


@dataclass(frozen=True)
class Function(Update):
    """A user's update: `function(rows_of_w, gradient)` returns the new rows."""

    function: Callable[[Array, Array], Array]

    def apply(self, values: Array, state: list[Array], rows: Rows, gradient: Array) -> None:
        values[rows] = self.function(values[rows], gradient)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(f"{name} must be > 0, got {value}")
