"""Message schedules of all-reduces, and of collectives whose messages queue where p is no power of two.

Each function gives every rank's program for `count` elements of `itemsize` bytes on p ranks, for `replay`. The
algorithms are described in the papers that `emulator.costs` names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from emulator.costs.model import floor_lg
from emulator.costs.replay import Drain, Program, Receive, Reduce, Send, Step

Schedule = Callable[[int, int, int], list[Program]]
Family = Callable[[int, int], tuple[int | None, list[int]]]
"""Parent (None at the root, rank 0) and children of a rank among p, in ascending order."""

_Exchange = Callable[[int, Callable[[int], int], int, int, int], list[Step]]


def binomial(rank: int, p: int) -> tuple[int | None, list[int]]:
    """Parent and children in the binomial tree: the parent is the rank without its lowest bit."""
    bits = [1 << k for k in range((p - 1).bit_length())]
    below = [bit for bit in bits if not rank or bit < rank & -rank]
    return (rank & (rank - 1) if rank else None), [rank + bit for bit in below if rank + bit < p]


def quaternary(rank: int, p: int) -> tuple[int | None, list[int]]:
    """Parent and children in a heap of four children each: rank r has 4 r + 1 to 4 r + 4."""
    return (rank - 1) // 4 if rank else None, [child for child in range(4 * rank + 1, 4 * rank + 5) if child < p]


def _up(rank: int, p: int, family: Family, n: int) -> list[Step]:
    """A rank's steps in a reduction to the root: the nearest child first."""
    parent, children = family(rank, p)
    steps: list[Step] = []
    for child in children:
        steps += [Receive(child), Reduce(n)]
    return steps if parent is None else [*steps, Send(parent, n), Drain()]


def _down(rank: int, p: int, family: Family, n: int, farthest_first: bool = True) -> list[Step]:
    """A rank's steps in a broadcast from the root."""
    parent, children = family(rank, p)
    receive: list[Step] = [] if parent is None else [Receive(parent)]
    return [*receive, *[Send(child, n) for child in sorted(children, reverse=farthest_first)], Drain()]


def _along(family: Family, *parts: Callable[[int, int, Family, int], list[Step]]) -> Schedule:
    """The schedule in which every rank does these steps in a tree, one after another."""

    def schedule(p: int, count: int, itemsize: int) -> list[Program]:
        return [[step for part in parts for step in part(rank, p, family, count * itemsize)] for rank in range(p)]

    return schedule


def ring(p: int, count: int, itemsize: int) -> list[Program]:
    """Schedule of a ring all-reduce of `count` elements of `itemsize` bytes, in p blocks."""
    blocks = [(count // p + (block < count % p)) * itemsize for block in range(p)]
    programs: list[Program] = []
    for rank in range(p):
        steps: list[Step] = []
        for hop in range(2 * (p - 1)):
            block = (rank - hop - 1) % p if hop < p - 1 else (rank - hop + p - 1) % p
            steps += [Send((rank + 1) % p, blocks[block]), Receive((rank - 1) % p)]
        programs.append([*steps, Drain()])
    return programs


reduction = _along(binomial, _up)
broadcast = _along(binomial, _down)
tree = _along(binomial, _up, _down)
k_ary_tree = _along(quaternary, _up, partial(_down, farthest_first=False))


def _folded(exchange: _Exchange) -> Schedule:
    """Schedule of an all-reduce among 2^k places: of the first 2 (p - 2^k) ranks the even ones hand over."""

    def schedule(p: int, count: int, itemsize: int) -> list[Program]:
        places, n = 1 << floor_lg(p), count * itemsize
        extra = p - places

        def rank_at(place: int) -> int:
            return 2 * place + 1 if place < extra else place + extra

        programs: list[list[Step]] = [[] for _ in range(p)]
        for place in range(places):
            rank = rank_at(place)
            steps = exchange(place, rank_at, places, count, itemsize)
            if place < extra:
                steps = [Receive(rank - 1), Reduce(n), *steps, Send(rank - 1, n), Drain()]
                programs[rank - 1] = [Send(rank, n), Drain(), Receive(rank)]
            programs[rank] = steps
        return list(programs)

    return schedule


def _doubling(place: int, rank_at: Callable[[int], int], places: int, count: int, itemsize: int) -> list[Step]:
    """The steps of a place: in step k it exchanges all elements with the place that differs in bit k."""
    n = count * itemsize
    steps: list[Step] = []
    for k in range(floor_lg(places)):
        partner = rank_at(place ^ (1 << k))
        steps += [Send(partner, n), Receive(partner), Drain(), Reduce(n)]
    return steps


def _halving(place: int, rank_at: Callable[[int], int], places: int, count: int, itemsize: int) -> list[Step]:
    """The steps of a place: in step k it sends half of its range to the place that differs in bit k; then back."""
    low, high = 0, count
    there: list[Step] = []
    back: list[Step] = []
    for k in range(floor_lg(places)):
        partner, middle = rank_at(place ^ (1 << k)), (low + high) // 2
        lower, upper = (middle - low) * itemsize, (high - middle) * itemsize
        kept, given = (upper, lower) if place >> k & 1 else (lower, upper)
        low, high = (middle, high) if place >> k & 1 else (low, middle)
        there += [Send(partner, given), Receive(partner), Reduce(kept), Drain()]
        back = [Send(partner, kept), Receive(partner), Drain(), *back]
    return there + back


recursive_doubling = _folded(_doubling)
rabenseifner = _folded(_halving)
