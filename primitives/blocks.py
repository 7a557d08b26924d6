"""Split n elements into p blocks whose sizes differ by at most one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def counts(total: int, parts: int) -> list[int]:
    """Sizes of `parts` blocks of `total` elements: the first ``total % parts`` have one more; blocks may be empty."""
    quotient, remainder = divmod(total, parts)
    return [quotient + 1] * remainder + [quotient] * (parts - remainder)


def offsets(sizes: Sequence[int]) -> list[int]:
    """The offset of each block, and at the end that after the last one: one entry more than `sizes`."""
    begins = [0]
    for size in sizes:
        begins.append(begins[-1] + size)
    return begins


def cut(items: Any, sizes: Sequence[int]) -> list[Any]:
    """Consecutive blocks of a sequence, `sizes` elements each; of a one-dimensional array they are views."""
    begins = offsets(sizes)
    return [items[begin:end] for begin, end in pairwise(begins)]


def split(items: Any, parts: int) -> list[Any]:
    """Split a sequence into consecutive blocks of nearly equal sizes; of a one-dimensional array they are views.

    Examples
    --------
    >>> split([1, 2, 3, 4, 5], 3)
    [[1, 2], [3, 4], [5]]
    """
    return cut(items, counts(len(items), parts)) if parts > 1 else [items[:]]


class Blocks(Sequence[Any]):
    """The blocks of `split`, each made when it is accessed, so that many of them take no memory.

    Attributes
    ----------
    even : all are of the same size
    """

    def __init__(self, items: Any, parts: int) -> None:
        self._items, self._parts = items, parts
        self._quotient, self._longer = divmod(len(items), parts)
        self.even = not self._longer

    def __len__(self) -> int:
        return self._parts

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < self._parts:
            raise IndexError(f"blocks are 0 to {self._parts - 1}, got {i}")
        begin = i * self._quotient + (i if i < self._longer else self._longer)
        return self._items[begin : begin + self._quotient + (i < self._longer)]
