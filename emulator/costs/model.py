"""The cost model of a pattern: its terms, its price by term, and its entry in the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.errors import UsageError

if TYPE_CHECKING:
    from emulator.costs.schedules import Schedule

THAKUR = "Thakur, Rabenseifner and Gropp (2005)"


@dataclass(frozen=True)
class Terms:
    """Coefficients of alpha, beta n and gamma n; arrays for several p.

    Attributes
    ----------
    steps : S(p): messages in sequence
    volume : V(p): bytes in sequence, as a multiple of n
    reduced : R(p): bytes reduced in sequence, as a multiple of n
    """

    steps: Any
    volume: Any
    reduced: Any = 0.0

    def seconds(self, n: float, alpha: float, beta: float, gamma: float = 0.0) -> Any:
        """Time of the pattern for n bytes; alpha in seconds, beta and gamma in seconds per byte."""
        return alpha * self.steps + (beta * self.volume + gamma * self.reduced) * n

    def times(self, factor: float) -> Terms:
        """All three terms multiplied by a factor."""
        return Terms(self.steps * factor, self.volume * factor, self.reduced * factor)


@dataclass(frozen=True)
class Price:
    """Time of a pattern by term, in seconds, and its bytes; arrays for an array of p.

    Attributes
    ----------
    latency, bandwidth, reduction : alpha S, beta V n and gamma R n of the longest chain of messages
    waiting : what a resource that ranks share (a server's card, cores) or a slow rank adds to it
    sent : bytes that a computing rank sends
    port : bytes through the busiest card, in its busier direction
    """

    latency: Any
    bandwidth: Any
    reduction: Any = 0.0
    waiting: Any = 0.0
    sent: Any = 0.0
    port: Any = 0.0

    @property
    def seconds(self) -> Any:
        """The sum of the terms."""
        return self.latency + self.bandwidth + self.reduction + self.waiting

    def through(self, busy: Any) -> Price:
        """The price if a resource is busy for `busy` seconds: the bytes take no less time, wherever they queue."""
        return replace(self, bandwidth=np.maximum(self.bandwidth, busy - self.waiting))


Exact = Callable[[int, int, int, float, float, float], float]


@dataclass(frozen=True, eq=False)
class Pattern:
    """A communication pattern: how to price it, and the source of its formula.

    Attributes
    ----------
    name, formula, source : name in the registry; the closed form in alpha, beta, gamma, p and n; where it is published
    chain : ``chain(p, **options)`` gives the `Terms` of the longest chain of messages
    traffic : ``traffic(p, **options)``: bytes that a computing rank sends and bytes through the busiest card, of n = 1
    options : the options of `price` and their defaults
    shared : ``shared(p, **options)``: `Terms` of each shared resource; the step takes no less than the busiest needs
    """

    name: str
    formula: str
    source: str
    chain: Callable[..., Terms]
    traffic: Callable[..., tuple[float, float]]
    options: Mapping[str, Any] = field(default_factory=dict)
    shared: Callable[..., Iterable[Terms]] | None = None

    def terms(self, p: int, **options: Any) -> Terms:
        """S, V and R on p >= 1 ranks."""
        if p < 1:
            raise UsageError(f"a pattern runs on p >= 1 ranks, got {p}")
        return self.chain(p, **self.chosen(options))

    def price(
        self, alpha: float, beta: float, gamma: float, p: Any, n: float, *, compute: float = 0.0, **options: Any
    ) -> Price:
        """The price of one operation by term.

        Parameters
        ----------
        alpha, beta, gamma : latency of a message in seconds; seconds per byte sent; seconds per byte reduced
        p : ranks that compute, or an integer array of such numbers
        n : bytes of the operation, as the formula counts them
        compute : seconds that a rank computes meanwhile: a shared resource may work in that time
        **options : see `options`
        """
        counts = tuple(p.tolist()) if isinstance(p, np.ndarray) else int(p)
        chain, (sent, port), shared = _coefficients(self, counts, tuple(sorted(self.chosen(options).items())))
        alone = chain.seconds(n, alpha, beta, gamma)
        waiting: Any = 0.0 if not isinstance(p, np.ndarray) else np.zeros(p.shape)
        for resource in shared:
            waiting = np.maximum(waiting, resource.seconds(n, alpha, beta, gamma) - alone - compute)
        waiting = waiting if isinstance(p, np.ndarray) else float(waiting)
        latency, bandwidth, reduction = alpha * chain.steps, beta * chain.volume * n, gamma * chain.reduced * n
        return Price(latency, bandwidth, reduction, waiting, sent * n, port * n)

    def chosen(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their defaults; refuses unknown ones."""
        if unknown := set(options) - set(self.options):
            known = ", ".join(self.options) or "none"
            raise UsageError(f"the options of {self.name} are {known}, got {', '.join(sorted(unknown))}")
        return {**self.options, **options}


@lru_cache(maxsize=4096)
def _coefficients(pattern: Pattern, p: Any, options: tuple[tuple[str, Any], ...]) -> tuple[Terms, Any, list[Terms]]:
    """Chain, traffic and shared resources of a pattern as arrays over several p."""
    chosen = dict(options)
    if isinstance(p, int):
        shared = list(pattern.shared(p, **chosen)) if pattern.shared is not None else []
        return pattern.terms(p, **chosen), pattern.traffic(p, **chosen), shared
    chain = _stack([pattern.chain(one, **chosen) for one in p])
    sent, port = np.array([pattern.traffic(one, **chosen) for one in p], dtype=float).reshape(-1, 2).T
    resources = zip(*(pattern.shared(one, **chosen) for one in p), strict=True) if pattern.shared is not None else ()
    return chain, (sent, port), [_stack(list(of)) for of in resources]


def _stack(terms: list[Terms]) -> Terms:
    return Terms(*np.array([(t.steps, t.volume, t.reduced) for t in terms], dtype=float).reshape(-1, 3).T)


@dataclass(frozen=True, eq=False)
class Collective(Pattern):
    """A collective operation, whose cost is linear in alpha, beta and gamma except for blocks of whole elements.

    Attributes
    ----------
    bus : ``bus(p)``: busbw = algbw * bus(p), as nccl-tests defines it
    closed : ``closed(p, count, itemsize, alpha, beta, gamma)`` in seconds, where p does not divide the count
    followed : the same by following the messages one by one, where they meet at a card on some p
    queues : they meet at a card on every p > 2, not only where p is no power of two
    neighbours : a rank sends to one other, the same in every step
    schedule : ``schedule(p, count, itemsize)``: every rank's program (`emulator.costs.replay`), of an all-reduce
    """

    bus: Callable[[int], float] = lambda p: 1.0
    closed: Exact | None = None
    followed: Exact | None = None
    queues: bool = False
    neighbours: bool = False
    schedule: Schedule | None = None

    def block_terms(self, p: int, count: int, itemsize: int) -> Terms:
        """Terms of the closed form for ``count * itemsize`` bytes in whole elements: what a fit needs."""
        if self.closed is None or p == 1:
            return self.terms(p)
        n = max(1, count * itemsize)
        parts = [self.closed(p, count, itemsize, *unit) for unit in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
        return Terms(parts[0], parts[1] / n, parts[2] / n)

    def exact(self, p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float = 0.0) -> float:
        """Time on an idle emulated network of one rank per host, in seconds.

        Parameters
        ----------
        count, itemsize : number of elements (n = count * itemsize bytes) and bytes of one
        """
        if p == 1:
            return 0.0
        if self.followed is not None:
            # Trees and folded algorithms send no message for an empty vector.
            return self.followed(p, count, itemsize, alpha, beta, gamma) if count else 0.0
        if self.closed is not None:
            return self.closed(p, count, itemsize, alpha, beta, gamma)
        return float(self.terms(p).seconds(count * itemsize, alpha, beta, gamma))

    def is_linear(self, p: int) -> bool:
        """Whether `exact` is linear in alpha, beta and gamma, and so equals the closed form."""
        return self.followed is None or p <= 2 or (is_power_of_two(p) and not self.queues)


def floor_lg(p: int) -> int:
    """Largest k with 2^k <= p."""
    return p.bit_length() - 1


def ceil_lg(p: int) -> int:
    """Smallest k with 2^k >= p."""
    return (p - 1).bit_length()


def is_power_of_two(p: int) -> bool:
    """Whether p is 1, 2, 4, 8, ..."""
    return p & (p - 1) == 0
