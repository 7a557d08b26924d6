"""Which all-reduce costs the least: by the formulas, from measured terms, or from what is usual in shared memory.

The choice depends on p, n and the terms only, and the terms are the same on every rank: so is the choice.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from emulator import costs
from primitives.exchange import all_gather
from primitives.plans import plans_of
from primitives.ring import SEGMENT_BYTES, has_own_clock

ORDER = ("recursive_doubling", "ring", "rabenseifner", "tree")


@dataclass(frozen=True)
class Terms:
    """Cost of a message and of a reduction, as measured: seconds, and seconds per byte."""

    alpha: float
    beta: float
    gamma: float


DEFAULT_TERMS = Terms(alpha=2e-6, beta=1.5e-10, gamma=1e-10)
"""Shared memory of an ordinary machine, or an emulated network, where every rank has a core."""

CROWDED_TERMS = Terms(alpha=20e-6, beta=1.5e-10, gamma=1e-10)
"""The same with more ranks than cores: a message waits until its receiver has run."""


def choose(p: int, n: int, alpha: float, beta: float, gamma: float) -> str:
    """The algorithm that the cost formulas say is the quickest.

    Parameters
    ----------
    p, n
        Ranks, and bytes on each.
    alpha, beta, gamma
        Seconds per message, per byte sent, and per byte reduced.

    Returns
    -------
    str
        The algorithm; among equals the first in `ORDER`.
    """
    return min(ORDER, key=lambda name: costs.seconds(name, p, n, alpha, beta, gamma))


def automatic(comm: MPI.Intracomm, n: int) -> str:
    """What ``algorithm="auto"`` means for n bytes on this communicator: `choose`, or the ring where it overlaps.

    Where blocks go in segments the ring reduces one while the next is on its way, which no formula here counts: of the
    algorithms with the least bytes it is then the quickest.
    """
    p = comm.Get_size()
    if n > p * SEGMENT_BYTES and not has_own_clock(comm):
        return "ring"
    terms = terms_of(comm)
    return choose(p, n, terms.alpha, terms.beta, terms.gamma)


def set_terms(comm: MPI.Intracomm, terms: Terms | None) -> None:
    """Let ``auto`` choose by measured terms on this communicator; every rank must pass the same.

    Parameters
    ----------
    comm
        The communicator; duplicates of it do not inherit the terms.
    terms
        What was measured, or None for what is usual.
    """
    plans = plans_of(comm)
    plans.free()
    plans.terms = terms


def terms_of(comm: MPI.Intracomm) -> Terms:
    """The terms that ``auto`` chooses by on this communicator; collective the first time, when nothing was measured."""
    plans = plans_of(comm)
    if plans.terms is None:
        plans.terms = CROWDED_TERMS if not has_own_clock(comm) and _crowded(comm) else DEFAULT_TERMS
    return plans.terms


def _crowded(comm: MPI.Intracomm) -> bool:
    """Whether some host has more ranks than cores. Every rank says what it has, so that all come to the same answer."""
    host = zlib.crc32(MPI.Get_processor_name().encode())
    table = np.empty((comm.Get_size(), 2), np.int64)
    all_gather(comm, np.array([host, os.cpu_count() or 1]), table)
    ranks = Counter(table[:, 0].tolist())
    return any(ranks[host] > cores for host, cores in table.tolist())
