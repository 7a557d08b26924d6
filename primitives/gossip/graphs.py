"""Communication graphs of gossip: which rank sends to which.

    ring         torus 3x3      star        exponential p=8     complete
    0--1--2      0--1--2        1   2       0 -> 1, 2, 4        every pair
    |     |      |  |  |         \\ /        1 -> 2, 3, 5
    5--4--3      3--4--5     4 -- 0 -- 3    ...
                 |  |  |  (and around the edges)

A graph says more than its edges: `Graph.neighbours[i]` is also the *order* in which rank i sends. The regular
graphs are laid out so that the k-th messages of all ranks form a permutation (every rank receives exactly one of
them). Then no two messages meet at a receiver's network card, and a round of degree d costs alpha + d n beta;
in a careless order the last card to be served gets everything at the end, alpha + (2d - 1) n beta.

Sources: torus, star, complete: folklore; exponential: Assran et al., "Stochastic gradient push" (ICML 2019);
random regular as a union of random cycles: Friedman, "A proof of Alon's second eigenvalue conjecture" (2008).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.costs import graphs as priced
from emulator.errors import UsageError

_TRIES = 200
_KEPT = 64  # draws of contacts: ranks may be some rounds apart


class Contacts(NamedTuple):
    """A random target of each rank, and the ranks that have each rank as their target."""

    targets: tuple[int, ...]
    callers: list[list[int]]


@dataclass(frozen=True)
class Graph:
    """A directed graph on the ranks 0 .. size - 1, without self-loops.

    Attributes
    ----------
    name : for tables and error messages
    neighbours : `neighbours[i]`: the ranks that i sends to, in the order of its sends
    """

    name: str
    neighbours: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        for i, targets in enumerate(self.neighbours):
            if i in targets or len(set(targets)) < len(targets):
                raise UsageError(f"a graph has no self-loop and no double edge, rank {i} has {targets}")
            if any(not 0 <= j < self.size for j in targets):
                raise UsageError(f"neighbours lie between 0 and {self.size - 1}, rank {i} has {targets}")

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.neighbours)

    @property
    def degree(self) -> int:
        """Largest number of messages that a rank sends in a round."""
        return max((len(targets) for targets in self.neighbours), default=0)

    @property
    def regular(self) -> bool:
        """Whether the k-th sends of all ranks form a permutation, so that messages never queue at a receiver."""
        slots = zip(*self.neighbours, strict=False)
        equal = len({len(targets) for targets in self.neighbours}) <= 1
        return equal and all(len(set(slot)) == self.size for slot in slots)

    @property
    def symmetric(self) -> bool:
        """Whether every edge goes both ways."""
        return all(i in self.neighbours[j] for i in range(self.size) for j in self.neighbours[i])

    def sources(self, rank: int) -> tuple[int, ...]:
        """List the ranks that send to `rank`, in the order in which their messages should arrive.

        That is the order to receive in: then no message waits for one that leaves its sender later.
        """
        return self._sources[rank]

    @cached_property
    def _sources(self) -> tuple[tuple[int, ...], ...]:
        slots: list[list[tuple[int, int]]] = [[] for _ in range(self.size)]
        for i, targets in enumerate(self.neighbours):
            for slot, j in enumerate(targets):
                slots[j].append((slot, i))
        return tuple(tuple(i for _, i in sorted(senders)) for senders in slots)

    @cached_property
    def pairs(self) -> NDArray[np.int64]:
        """The edges of a two-way graph as rows (i, j), i < j."""
        found = [(i, j) for i in range(self.size) for j in self.neighbours[i] if i < j]
        return np.array(found, np.int64).reshape(-1, 2)

    def contacts(self, seed: int, round_number: int) -> Contacts:
        """Draw one random target for every rank; all ranks draw the same, so every receive can name its source."""
        key = seed, round_number
        if (drawn := self._drawn.get(key)) is None:
            rng = np.random.default_rng(key)
            drawn = Contacts(tuple(targets[int(rng.integers(len(targets)))] for targets in self.neighbours),
                             [[] for _ in self.neighbours])  # fmt: skip
            for i, target in enumerate(drawn.targets):
                drawn.callers[target].append(i)
            if len(self._drawn) >= _KEPT:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[key] = drawn
        return drawn

    @cached_property
    def _drawn(self) -> dict[tuple[int, int], Contacts]:
        """The latest draws by seed and round, which simulated ranks share."""
        return {}

    def reversed(self) -> Graph:
        """Turn every edge around."""
        return Graph(self.name, tuple(self.sources(i) for i in range(self.size)))

    def reached(self, start: int = 0) -> set[int]:
        """Find every rank that a message from `start` can reach."""
        seen, frontier = {start}, [start]
        while frontier:
            fresh = [j for j in self.neighbours[frontier.pop()] if j not in seen]
            seen.update(fresh)
            frontier += fresh
        return seen

    @cached_property
    def connected(self) -> bool:
        """Whether every rank can reach every other (strongly connected if edges are one-way); computed once."""
        everyone = self.size
        return everyone == 0 or len(self.reached()) == everyone == len(self.reversed().reached())

    def check_size(self, ranks: int) -> None:
        """Raise a UsageError unless the graph is for that many ranks."""
        if self.size != ranks:
            raise UsageError(
                f"the graph '{self.name}' is for {self.size} ranks, this gossip has {ranks}: build it for the members "
                "that are left"
            )

    def check_connected(self) -> Graph:
        """Return the graph itself; raise a UsageError if some rank cannot be reached by averages and rumours."""
        if not self.connected:
            cut = sorted(set(range(self.size)) - (self.reached() & self.reversed().reached()))
            raise UsageError(
                f"gossip needs a connected graph, in '{self.name}' rank 0 and ranks {_some(cut)} cannot reach "
                "each other: add edges between them"
            )
        return self


def _some(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks[:5])) + (", ..." if len(ranks) > 5 else "")


def by_distance(rank: int, targets: Iterable[int], p: int) -> tuple[int, ...]:
    """Sort targets by their distance ahead of `rank`, an order in which few messages meet at a receiver."""
    return tuple(sorted(targets, key=lambda j: (j - rank) % p))


def _round(name: str, p: int) -> Graph:
    """The graph of this name, with the sends of a round in the order of its cost formula."""
    return Graph(name, tuple(map(tuple, priced.targets(name, p)[0])))


def ring(p: int) -> Graph:
    """The graph of both neighbours on a cycle; degree 2."""
    return _round("ring", p)


@lru_cache(maxsize=8)
def complete(p: int) -> Graph:
    """The graph from every rank to every other; degree p - 1. Simulated ranks share its p (p - 1) edges."""
    return _round("complete", p)


def exponential(p: int) -> Graph:
    """The one-way graph i -> i + 2^k; degree ceil(lg p), gap 2/(1 + degree) for even p (Ying et al. 2021)."""
    return _round("exponential", p)


def star(p: int) -> Graph:
    """The graph between rank 0 and every other rank, as with a coordinator."""
    return Graph("star", tuple(tuple(range(1, p)) if i == 0 else (0,) for i in range(p)))


def torus(p: int) -> Graph:
    """The 2-D torus, as square as p allows; degree 4 (a prime p degenerates to a ring)."""
    return _round("torus", p)


def random_regular(p: int, degree: int = 4, seed: int = 0) -> Graph:
    """A graph of `degree` random neighbours per rank: an expander with high probability.

    The union of degree/2 random Hamiltonian cycles (and a random perfect matching when the degree is odd),
    redrawn until they share no edge. It contains a cycle, so it is connected from degree 2 on; each cycle gives two
    permutations (forward, backward), so messages never queue.

    Raises
    ------
    UsageError
        p * degree is odd, or the degree does not lie in 2 .. p - 1, or is so dense that no draw succeeds.
    """
    if not 2 <= degree < p:
        raise UsageError(f"a random regular graph needs a degree between 2 and p - 1 = {p - 1}, got {degree}")
    if p * degree % 2:
        raise UsageError(f"p * degree must be even for a regular graph, got {p} * {degree}: change one of them by 1")
    rng = np.random.default_rng((seed, p, degree))
    for _ in range(_TRIES):
        directions: list[np.ndarray] = []
        for _ in range(degree // 2):
            directions += _random_edges(p, rng, directions, cycle=True)
        if degree % 2:
            directions += _random_edges(p, rng, directions, cycle=False)
        if len(directions) == degree:
            return Graph(f"random-{degree}-regular", tuple(tuple(int(d[i]) for d in directions) for i in range(p)))
    raise UsageError(
        f"no random {degree}-regular graph on {p} ranks in {_TRIES} draws: take a degree up to p / 2, or 'complete'"
    )


def _random_edges(p: int, rng: np.random.Generator, used: list[np.ndarray], cycle: bool) -> list[np.ndarray]:
    """Draw both directions of a Hamiltonian cycle, or a perfect matching, without an edge in `used`, or nothing."""
    for _ in range(_TRIES):
        order = rng.permutation(p)
        turned = [np.roll(order, -1), np.roll(order, 1)] if cycle else [order.reshape(-1, 2)[:, ::-1].reshape(-1)]
        drawn = [np.empty(p, int) for _ in turned]
        for direction, targets in zip(drawn, turned, strict=True):
            direction[order] = targets
        if not any(np.any(new == old) for new in drawn for old in used):
            return drawn
    return []


def from_edges(p: int, edges: Iterable[tuple[int, int]], *, directed: bool = True, name: str = "given") -> Graph:
    """Build a graph from an edge list, sends ordered by distance so that receivers meet few queues.

    Parameters
    ----------
    p : number of ranks
    edges : pairs (from, to); with ``directed=False`` each goes both ways
    """
    table: list[set[int]] = [set() for _ in range(p)]
    for i, j in edges:
        if not (0 <= i < p and 0 <= j < p):
            raise UsageError(f"edges join ranks between 0 and {p - 1}, got {i}-{j}")
        table[i].add(j)
        if not directed:
            table[j].add(i)
    return Graph(name, tuple(by_distance(i, targets, p) for i, targets in enumerate(table)))


NAMED: dict[str, Callable[[int], Graph]] = {
    "ring": ring,
    "torus": torus,
    "star": star,
    "complete": complete,
    "exponential": exponential,
    "random-regular": lambda p: random_regular(p, min(4, p - 1 - (p * (p - 1)) % 2)) if p > 3 else ring(p),
}


def named(name: str, p: int) -> Graph:
    """Build one of `NAMED`, or a graph given as ``"0-1,1-2,2-0"`` (two-way edges).

    Raises
    ------
    UsageError
        The name is unknown, the edge list does not parse, or the graph is not connected.
    """
    if name in NAMED:
        return NAMED[name](p)
    try:
        edges = [(int(a), int(b)) for a, b in (edge.split("-") for edge in name.split(","))]
    except ValueError:
        legal = ", ".join(NAMED)
        raise UsageError(f"a graph is one of {legal}, or edges such as 0-1,1-2,2-0, got {name!r}") from None
    return from_edges(p, edges, directed=False, name=name).check_connected()
