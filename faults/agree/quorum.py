"""Decide which side of a network partition goes on: the one with a quorum, so that there is one result.

    more than half of the ranks        goes on without the others
    half, with the lowest rank         goes on without the others
    half without it, or fewer          stops

Each rank can tell by itself, from the ranks that it reaches and from the last membership that all agreed on. The tie
goes to the lowest rank, as with the tie breaker of corosync's votequorum.

Source: Gifford, "Weighted voting for replicated data" (SOSP 1979).
"""

from __future__ import annotations

from collections.abc import Collection


def has_quorum(reached: Collection[int], members: Collection[int]) -> bool:
    """Whether a rank that reaches these ranks, itself included, may go on without the other members."""
    here = set(reached) & set(members)
    return 2 * len(here) > len(members) or (2 * len(here) == len(members) > 0 and min(members) in here)
