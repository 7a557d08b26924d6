"""The speedup model: the number of nodes with the shortest step.

A step computes for T_comp seconds on one node and is divided perfectly; its communication is not:

    T(p) = T_comp / p + T_comm(p)      S(p) = T_comp / T(p)      R(p) = T_comm(p) / (T_comp / p)

p* is the number of nodes with the shortest step. The number to ask for is smaller: S(p) is flat there, and the fewest
nodes that come within 5 % of the shortest step may be half as many. Where these have an efficiency S(p) / p below 50 %,
the most nodes before it falls below that are recommended: of each further one, less than half is of use. A design is
dominated by communication from the first p with R(p) >= 1.

Three forms of T_comm are told apart by name, because their alpha and beta mean different things:

- ``textbook``: alpha (p-1) + 2 beta (p-1)/p, with alpha the latency per hop and **beta the time to move the whole
  model once** (seconds);
- ``ring``: 2 alpha (p-1) + 2 beta (p-1)/p: the same beta, and both passes of the ring counted;
- ``measured``: alpha S(p) + beta V(p) n + gamma R(p) n of `emulator.costs`, with beta and gamma in seconds per byte.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator import costs
from emulator.errors import UsageError

MOST_NODES = 4096
KNEE = 0.05
"""The number of nodes to request is the smallest whose time is within this share of the best."""
ROWS = tuple(2**k for k in range(11))  # the textbook's table: 1, 2, 4, ..., 1024

Communication = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """A line of the table; times in seconds."""

    p: int
    compute: float
    communication: float
    step: float
    speedup: float
    ratio: float

    @property
    def efficiency(self) -> float:
        """S(p) / p."""
        return self.speedup / self.p

    def record(self) -> dict[str, float]:
        """The row as a mapping, with its efficiency."""
        return {**asdict(self), "efficiency": self.efficiency}


class Speedup:
    """S(p) of a job with a compute time and a communication time.

    Parameters
    ----------
    t_comp : seconds that one node computes for one step, > 0
    communication : seconds of communication for an array of p; 0 for p = 1
    form : name of the form, to be printed with a figure

    Raises
    ------
    UsageError
        `t_comp` is not positive.
    """

    def __init__(self, t_comp: float, communication: Communication, form: str) -> None:
        if not 0 < t_comp < float("inf"):
            raise UsageError(f"the compute time of a step must be > 0 s, got {t_comp:g} s")
        self.t_comp, self.form = t_comp, form
        self.communication = communication

    def row(self, p: int) -> Row:
        """The model at p nodes."""
        if p < 1:
            raise UsageError(f"a number of nodes must be >= 1, got {p}")
        compute = self.t_comp / p
        communication = float(self.communication(np.array([p]))[0])
        step = compute + communication
        return Row(p, compute, communication, step, self.t_comp / step, communication / compute)

    def table(self, nodes: Sequence[int] = ROWS) -> list[Row]:
        """The model at each of `nodes`."""
        return [self.row(p) for p in nodes]

    def best(self, most: int = MOST_NODES) -> Row:
        """The row of p*, the p in 1..most with the shortest step; the smallest of equal ones."""
        p, steps = self._steps(most)
        return self.row(int(p[np.argmin(steps)]))

    def knee(self, most: int = MOST_NODES) -> Row:
        """The row of the fewest nodes whose step is at most 5 % longer than the shortest: the nodes to request."""
        return self.row(knee(*self._steps(most)))

    def _steps(self, most: int) -> tuple[NDArray[Any], NDArray[Any]]:
        p = np.arange(1, most + 1)
        return p, self.t_comp / p + self.communication(p)

    def efficient(self, most: int = MOST_NODES) -> Row | None:
        """The row of the p before the first in 2..most with an efficiency S(p) / p below 50 %; None without such."""
        p = np.arange(2, most + 1)
        below = np.flatnonzero(self.t_comp / (self.t_comp / p + self.communication(p)) < 0.5 * p)
        return self.row(int(p[below[0]]) - 1) if below.size else None

    def answers(self) -> dict[str, Any]:
        """`best`, `knee`, `efficient` and `dominated` as records, None where there is none, for a result file."""
        rows = {
            "best": self.best(),
            "knee": self.knee(),
            "efficient": self.efficient(),
            "dominated": self.dominated(),
        }
        return {name: row.record() if row else None for name, row in rows.items()}

    def dominated(self, most: int = MOST_NODES) -> Row | None:
        """The row of the first p in 2..most with R(p) >= 1; None if there is none."""
        p = np.arange(2, most + 1)
        first = dominated(p, self.communication(p), self.t_comp / p)
        return None if first is None else self.row(first)


def knee(p: NDArray[Any], times: NDArray[Any]) -> int:
    """The first p whose time is at most 5 % longer than the shortest."""
    return int(p[np.flatnonzero(times <= (1 + KNEE) * times.min())[0]])


def dominated(p: NDArray[Any], communication: NDArray[Any], compute: NDArray[Any]) -> int | None:
    """The first p >= 2 at which communication dominates, R(p) >= 1; None if there is none."""
    over = np.flatnonzero((communication >= compute) & (p >= 2))
    return int(p[over[0]]) if over.size else None


def interval(found: Sequence[int] | NDArray[Any]) -> tuple[int, int]:
    """95 % interval of the p found in resamples."""
    low, high = np.quantile(found, [0.025, 0.975], method="inverted_cdf")
    return int(low), int(high)


def _check_terms(**terms: float) -> None:
    for name, value in terms.items():
        if not 0 <= value < float("inf"):
            raise UsageError(f"{name} must be a time >= 0, got {value:g}")


def textbook(t_comp: float, alpha: float, beta: float) -> Speedup:
    """Ring all-reduce as in the textbook: alpha per hop of one pass, beta the time to transfer the whole model.

    Parameters
    ----------
    t_comp, alpha, beta : seconds
    """
    _check_terms(alpha=alpha, beta=beta)
    return Speedup(t_comp, lambda p: alpha * (p - 1) + 2 * beta * (p - 1) / p, "textbook: alpha (p-1) + 2 beta (p-1)/p")


def ring(t_comp: float, alpha: float, beta: float) -> Speedup:
    """Ring all-reduce with both passes: 2 (p-1) latencies; beta is the time (s) to transfer the whole model."""
    one_pass = textbook(t_comp, 2 * alpha, beta)
    return Speedup(t_comp, one_pass.communication, "ring: 2 alpha (p-1) + 2 beta (p-1)/p")


def measured(
    t_comp: float, pattern: str, n: float, alpha: float, beta: float, gamma: float = 0.0, origin: str = "measured",
    **options: Any,
) -> Speedup:  # fmt: skip
    """Any pattern with measured terms, for n bytes; alpha in seconds, beta and gamma in seconds per byte.

    `origin` of the terms begins the name of the form; `options` are the pattern's (`emulator.costs`).
    """
    _check_terms(alpha=alpha, beta=beta, gamma=gamma)
    costs.pattern(pattern)
    form = f"{origin}: alpha S(p) + beta V(p) n + gamma R(p) n of {pattern}"
    return Speedup(t_comp, lambda p: costs.seconds(pattern, p, n, alpha, beta, gamma, **options), form)


def best_interval(t_comp: float, pattern: str, n: float, draws: ArrayLike) -> tuple[int, int] | None:
    """95 % interval of p* from bootstrap draws of the measured terms; None without draws.

    It contains the uncertainty of the terms from repetitions and from the errors of the model (see
    `emulator.measure.bootstrap`). The model is assumed to hold for p beyond those that were measured.

    Parameters
    ----------
    draws : array_like, shape (resamples, 3)
        alpha (s), beta and gamma (s/byte) of each resample.
    """
    if not len(np.asarray(draws)):
        return None
    nodes = np.arange(1, MOST_NODES + 1)
    coefficients = _chains(pattern) * np.array([1.0, n, n])
    steps = t_comp / nodes + np.atleast_2d(np.asarray(draws, dtype=float)) @ coefficients.T
    return interval(nodes[np.argmin(steps, axis=1)])


@cache  # 4096 of them take longer than all else that an interval needs
def _chains(pattern: str) -> NDArray[Any]:
    """S(p), V(p) and R(p) of a pattern in columns, a row for each p in 1..`MOST_NODES`."""
    terms = [costs.terms(pattern, p) for p in range(1, MOST_NODES + 1)]
    return np.array([[one.steps, one.volume, one.reduced] for one in terms], dtype=float)


@dataclass(frozen=True)
class Variation:
    """The p* for alpha and beta multiplied by two factors."""

    alpha_factor: float
    beta_factor: float
    best: Row
    dominated: Row | None


def sensitivity(model: Callable[[float, float], Speedup], alpha: float, beta: float) -> list[Variation]:
    """Vary alpha and beta, each by 0.1, 1 and 10; ``model(alpha, beta)`` gives the `Speedup`."""
    varied = [(a, b, model(alpha * a, beta * b)) for a in (0.1, 1.0, 10.0) for b in (0.1, 1.0, 10.0)]
    return [Variation(a, b, one.best(), one.dominated()) for a, b, one in varied]
