"""The three consistency rules (when a push takes effect and a pull is answered), and the staleness of pulls.

A worker's clock counts the iterations that it has closed. `slowest` is the smallest clock among the workers that
have not left, as far as a shard has heard.

    bsp           pushes of iteration c wait until every worker has closed c, then take effect together, in the order
                  of worker ranks; a pull at clock c waits for slowest >= c. Staleness 0.
    ssp, bound s  pushes take effect on arrival; a pull at clock c waits for slowest >= c - s (Petuum's read
                  rule: it sees every update of iterations < c - s, and always the worker's own). Staleness <= s.
    async         pushes take effect on arrival, pulls are answered at once. Staleness without bound.

Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server" (NIPS 2013); Valiant,
"A bridging model for parallel computation" (CACM 33(8), 1990) for BSP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from emulator.errors import UsageError

_NO_WORKER = 2**62
KINDS = ("bsp", "async", "ssp")


@dataclass(frozen=True)
class Consistency:
    """A consistency rule.

    Attributes
    ----------
    kind : ``"bsp"``, ``"async"`` or ``"ssp"``
    bound : iterations, for ssp; not used by the others
    """

    kind: str = "bsp"
    bound: float = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"consistency must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "ssp" and (self.bound < 0 or self.bound != int(self.bound)):
            raise UsageError(f"staleness must be a whole number >= 0, got {self.bound}: 0 waits in every iteration")

    @property
    def together(self) -> bool:
        """Whether all pushes of an iteration take effect together."""
        return self.kind == "bsp"

    @property
    def staleness(self) -> int | None:
        """Largest staleness that a read may have; None: no bound."""
        return {"bsp": 0, "ssp": int(self.bound)}.get(self.kind)

    def __str__(self) -> str:
        return f"ssp s={self.bound:g}" if self.kind == "ssp" else self.kind


class Clocks:
    """The clocks of a shard's workers: the iterations that they have closed.

    Attributes
    ----------
    clocks : of each worker that has not left
    slowest : smallest clock; larger than any clock when all workers have left
    """

    def __init__(self, workers: Iterable[int]) -> None:
        self.clocks = dict.fromkeys(sorted(workers), 0)
        self._at = Counter(self.clocks.values())  # clock -> workers; there are few different clocks
        self.slowest = min(self._at, default=_NO_WORKER)

    def tick(self, worker: int, clock: int) -> None:
        """Note that `worker` has closed iteration `clock`."""
        if worker in self.clocks:
            before, self.clocks[worker] = self.clocks[worker], clock + 1
            self._at[clock + 1] += 1
            self._subtract(before)

    def leave(self, worker: int) -> None:
        """Stop waiting for `worker`."""
        if worker in self.clocks:
            self._subtract(self.clocks.pop(worker))

    def _subtract(self, clock: int) -> None:
        self._at[clock] -= 1
        if not self._at[clock]:
            del self._at[clock]
        self.slowest = min(self._at, default=_NO_WORKER)


class StalenessExceeded(AssertionError):
    """A read was staler than its rule allows: a bug of this package, not a condition to handle."""


class Staleness(Counter[int]):
    """Histogram of reads by the number of iterations that the slowest worker was behind the reader."""

    def observe(self, value: int, bound: int | None = None) -> None:
        """Count one read.

        Raises
        ------
        StalenessExceeded
            `value` is above the bound.
        """
        if bound is not None and value > bound:
            raise StalenessExceeded(f"a read was {value} iterations stale, the bound is {bound}")
        self[value] += 1

    @property
    def mean(self) -> float:
        """Mean staleness in iterations; 0 without reads."""
        return sum(value * times for value, times in self.items()) / max(1, self.total())

    @property
    def largest(self) -> int:
        """Largest staleness seen; 0 without reads."""
        return max(self, default=0)
