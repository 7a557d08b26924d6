"""The largest value among some ranks, found by messages between those ranks only."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

_TAG = 30_031


def largest(comm: Any, ranks: Sequence[int], value: float) -> float:
    """The largest `value` of these ranks, by dissemination in ceil(log2(ranks)) rounds of 8 bytes; also a barrier.

    Source: Hensgen, Finkel, Manber, "Two algorithms for barrier synchronization", IJPP 17(1), 1988.
    """
    place, size, distance = ranks.index(comm.Get_rank()), len(ranks), 1
    while distance < size:
        theirs = array("d", [0.0])
        to, source = ranks[(place + distance) % size], ranks[(place - distance) % size]
        comm.Sendrecv(array("d", [value]), to, _TAG, theirs, source, _TAG)
        value, distance = max(value, theirs[0]), 2 * distance
    return value
