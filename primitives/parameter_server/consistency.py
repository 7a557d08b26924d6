"""When a push takes effect and when a pull is answered: four rules.

A worker's clock counts the iterations that it has closed. `slowest` is the smallest clock among the workers that
are still there, as far as a shard has heard.

    bsp          pushes of iteration c wait until every worker has closed c, then take effect together, in the order
                 of worker ranks; a pull at clock c waits for slowest >= c. Staleness 0.
    ssp, bound s pushes take effect on arrival; a pull at clock c waits for slowest >= c - s (Petuum's read
                 rule: it sees every update of iterations < c - s, and always the worker's own). Staleness <= s.
    async        pushes take effect on arrival, pulls are answered at once. Staleness without bound.
    value, bound v   pushes take effect on arrival, unless they would make the sum of |push|_inf of this
                 worker that some computing worker has not read yet exceed max(v, |this push|_inf): then the push
                 waits for that worker's next pull. |sum|_inf <= sum |.|_inf, so the bound holds for the vector.
                 A worker that is itself waiting for a pull reads everything before it computes: it delays nobody.
                 A pull counts for all tables (pull together what is used together); who never pulls holds no copy.
                 With several shards a pull takes two rounds: first every shard admits the worker's pushes, then all
                 are read. In one round two workers, each answered by another shard, could wait for each other.

Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server" (NIPS 2013); Wei et
al., "Consistent Bounded-Asynchronous Parameter Servers" (2013) for the value bound; Valiant 1990 for BSP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from emulator.errors import UsageError

_NOBODY = 2**62
KINDS = ("bsp", "async", "ssp", "value")


class Gate:
    """The clocks of a shard's workers, and what may take effect when. This base class admits everything (async).

    Parameters
    ----------
    workers
        Ranks of the workers that have not left.

    Attributes
    ----------
    clocks
        Of each worker that has not left.
    slowest
        Smallest clock; the largest possible once nobody is left to wait for.
    """

    together = False  # whether the pushes of an iteration take effect together
    by_clock = True  # whether the slowest clock alone decides what may pass

    def __init__(self, workers: Iterable[int]) -> None:
        self.clocks = dict.fromkeys(sorted(workers), 0)
        self._at = Counter(self.clocks.values())  # clock -> workers; there are few different clocks
        self.slowest = min(self._at, default=_NOBODY)

    def tick(self, worker: int, clock: int) -> None:
        """`worker` has closed iteration `clock`."""
        if worker in self.clocks:
            before, self.clocks[worker] = self.clocks[worker], clock + 1
            self._at[clock + 1] += 1
            self._left(before)

    def leave(self, worker: int) -> None:
        """Wait for `worker` no longer."""
        if worker in self.clocks:
            self._left(self.clocks.pop(worker))

    def _left(self, clock: int) -> None:
        """A worker has left this clock for another one, or for good."""
        self._at[clock] -= 1
        if not self._at[clock]:
            del self._at[clock]
        self.slowest = min(self._at, default=_NOBODY)

    def may_apply(self, worker: int, magnitude: float) -> bool:
        """Whether a push of `worker` with this infinity norm may take effect now."""
        return True

    def applied(self, worker: int, magnitude: float) -> None:
        """A push took effect."""

    def may_read(self, worker: int, clock: int) -> bool:
        """Whether a pull at `clock` may be answered now."""
        return True

    def waits(self, worker: int) -> None:
        """A pull of `worker` has arrived."""

    def read(self, worker: int) -> None:
        """A pull of `worker` was answered."""


class SspGate(Gate):
    """Bounded staleness; bsp is the bound 0 with the pushes of an iteration together."""

    def __init__(self, workers: Iterable[int], bound: int, together: bool = False) -> None:
        super().__init__(workers)
        self.bound, self.together = bound, together

    def may_read(self, worker: int, clock: int) -> bool:
        return self.slowest >= clock - self.bound


class ValueGate(Gate):
    by_clock = False

    def __init__(self, workers: Iterable[int], bound: float) -> None:
        super().__init__(workers)
        self.bound = bound
        # Of each writer, for each reader that holds a copy, the sum of |push|_inf that it has not seen.
        self.unseen: dict[int, dict[int, float]] = {writer: {} for writer in self.clocks}
        self.waiting: set[int] = set()
        self.largest = 0.0

    def leave(self, worker: int) -> None:
        super().leave(worker)
        self.unseen.pop(worker, None)
        for readers in self.unseen.values():
            readers.pop(worker, None)
        self.waiting.discard(worker)

    def may_apply(self, worker: int, magnitude: float) -> bool:
        # `not >` and not `<=`: a NaN that was let through must not block its worker for ever.
        return not any(
            mass > 0 and mass + magnitude > self.bound
            for reader, mass in self.unseen.get(worker, {}).items()
            if reader not in self.waiting
        )

    def applied(self, worker: int, magnitude: float) -> None:
        readers = self.unseen.get(worker, {})
        for reader in readers.keys() - self.waiting:
            readers[reader] += magnitude
            self.largest = max(self.largest, readers[reader])

    def waits(self, worker: int) -> None:
        self.waiting.add(worker)
        self._seen_all(worker)

    def read(self, worker: int) -> None:
        self.waiting.discard(worker)
        self._seen_all(worker)

    def _seen_all(self, reader: int) -> None:
        for writer in self.clocks:
            if writer != reader:
                self.unseen[writer][reader] = 0.0


@dataclass(frozen=True)
class Consistency:
    """A rule by name.

    Attributes
    ----------
    kind
        ``"bsp"``, ``"async"``, ``"ssp"`` or ``"value"``.
    bound
        Iterations (ssp) or the infinity norm (value); not used by the others.
    """

    kind: str = "bsp"
    bound: float = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"consistency must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "ssp" and (self.bound < 0 or self.bound != int(self.bound)):
            raise UsageError(f"staleness must be a whole number >= 0, got {self.bound}: 0 waits in every iteration")
        if self.kind == "value" and not self.bound > 0:
            raise UsageError(f"the value bound must be > 0, got {self.bound}")

    @property
    def staleness(self) -> int | None:
        """Largest staleness that a read may show; None: no bound."""
        return {"bsp": 0, "ssp": int(self.bound)}.get(self.kind)

    def gate(self, workers: Iterable[int]) -> Gate:
        """Make the gate of one shard."""
        if self.kind == "bsp":
            return SspGate(workers, 0, together=True)
        if self.kind == "ssp":
            return SspGate(workers, int(self.bound))
        if self.kind == "value":
            return ValueGate(workers, self.bound)
        return Gate(workers)

    def __str__(self) -> str:
        return {"ssp": f"ssp s={self.bound:g}", "value": f"value v={self.bound:g}"}.get(self.kind, self.kind)
