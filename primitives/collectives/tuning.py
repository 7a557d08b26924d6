"""The all-reduce algorithms, and the choice of the cheapest by cost formulas and the communicator's terms.

==============================  ===============================================================================
the communicator                terms
==============================  ===============================================================================
an emulated network             its own: the longest latency and the slowest path between two of its ranks
ranks that have a core each     what is usual in shared memory
more ranks than cores           the same, and the cores must do all the work of all ranks
==============================  ===============================================================================

The choice depends on p, n and the terms only, and the terms are the same on every rank: so is the choice.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from emulator import carrier, costs
from emulator.core import wall_clock
from primitives.collectives.k_ary_tree import KAryTree
from primitives.collectives.persistent import Reduction, cache_of
from primitives.collectives.rabenseifner import Rabenseifner
from primitives.collectives.recursive_doubling import RecursiveDoubling
from primitives.collectives.ring import SEGMENT_BYTES
from primitives.collectives.ring import AllReduce as Ring
from primitives.collectives.tree import Tree
from primitives.collectives.unrooted import all_gather

ALGORITHMS: dict[str, type[Reduction]] = {
    "ring": Ring,
    "recursive_doubling": RecursiveDoubling,
    "rabenseifner": Rabenseifner,
    "k_ary_tree": KAryTree,
    "tree": Tree,
}

ORDERED = tuple(name for name, algorithm in ALGORITHMS.items() if algorithm.ordered)
"""Algorithms that keep the order of the ranks, for operations that do not commute."""

ORDER = ("recursive_doubling", "rabenseifner", "ring", "k_ary_tree", "tree")
"""Algorithms by preference: of those with equal cost the first is chosen."""

CROWDED = ("k_ary_tree", "rabenseifner", "ring", "recursive_doubling")
"""Algorithms for ranks that share cores. The binomial tree has no more work than the k-ary one but more levels, at each
of which a rank waits for a core: the formula does not count that, and measured it is slower."""

SHORT_BYTES = 16 << 10
"""Up to this length recursive doubling was measured to be the quickest where 4, 8 and 16 ranks shared 2 cores."""


@dataclass(frozen=True)
class Terms:
    """Cost of a message and of a reduction: seconds, and seconds per byte.

    Attributes
    ----------
    alpha, beta, gamma : per message, per byte sent, per byte reduced
    cores : what the ranks share, if there are more of them than cores: then the terms are a core's time. 0 where every
        rank has a core of its own
    """

    alpha: float
    beta: float
    gamma: float
    cores: int = 0


SHARED_MEMORY = Terms(alpha=2e-6, beta=2e-10, gamma=1e-10)
"""An ordinary machine where every rank has a core."""


def choose(
    p: int, n: int, alpha: float, beta: float, gamma: float, cores: int = 0, among: Sequence[str] = ORDER
) -> str:
    """Choose the algorithm that is fastest by the cost formulas.

    Parameters
    ----------
    p, n : ranks, and bytes on each
    alpha, beta, gamma : seconds per message, per byte sent, and per byte reduced
    cores : if the p ranks share fewer cores: how many. An algorithm then takes no less than all its work on so many
        cores.
    among : the algorithms to choose from

    Returns
    -------
    str
        The algorithm; among equals the first in `among`.
    """

    return min(among, key=lambda name: costs.seconds(name, p, n, alpha, beta, gamma, cores=cores))


def automatic(comm: MPI.Intracomm, n: int, commutative: bool = True) -> str:
    """The algorithm of ``"auto"`` for n bytes on this communicator: `choose`, with two measured exceptions.

    Where every rank has a core and blocks go in segments, the ring reduces one while the next is on its way: of the
    algorithms with the least bytes it is then the quickest. Where ranks share cores, a short message of recursive
    doubling is on its way before its receiver gets a core, and no rank waits for a root, as long as p is a power of
    two. On an emulated network `choose` decides alone.
    """
    p, terms = comm.Get_size(), terms_of(comm)
    if not carrier.of(comm).timed:
        if terms.cores and n <= SHORT_BYTES and costs.is_power_of_two(p):
            return "recursive_doubling"
        if commutative and not terms.cores and n > 2 * p * SEGMENT_BYTES:
            return "ring"
    among = (CROWDED if terms.cores else ORDER) if commutative else ORDERED
    return choose(p, n, terms.alpha, terms.beta, terms.gamma, terms.cores, among)


def terms_of(comm: MPI.Intracomm) -> Terms:
    """The terms by which ``auto`` chooses on this communicator; collective the first time."""
    cache = cache_of(comm)
    if cache.terms is None:
        cache.terms = _of_network(comm) if carrier.of(comm).timed else _of_machine(comm)
    return cache.terms


def _of_network(comm: MPI.Intracomm) -> Terms:
    """The configured network's terms; the time to reduce is neglected."""
    slowest = carrier.of(comm).terms()
    if slowest is None:
        return SHARED_MEMORY
    alpha, beta = slowest
    return Terms(alpha, beta, 0.0)


def _of_machine(comm: MPI.Intracomm) -> Terms:
    """Terms of shared memory, on the host with the most ranks per core, the same on all ranks by an all-gather."""
    host = zlib.crc32(MPI.Get_processor_name().encode())
    table = np.empty((comm.Get_size(), 2), np.int64)
    all_gather(comm, np.array([host, wall_clock.cores()]), table)
    ranks = Counter(table[:, 0].tolist())
    crowding = max(ranks[host] / cores for host, cores in table.tolist())
    if crowding <= 1:
        return SHARED_MEMORY
    usual = SHARED_MEMORY
    # A message waits until its receiver runs on a core that it shares.
    cores = max(1, round(comm.Get_size() / crowding))
    return Terms(usual.alpha * crowding, usual.beta, usual.gamma, cores)
