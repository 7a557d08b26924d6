"""Chooses the all-reduce algorithm that costs the least, by the formulas and the terms of the communicator.

==============================  ===============================================================================
the communicator                terms
==============================  ===============================================================================
`set_terms` was called          those, as measured
an emulated network             its own: the longest latency and the slowest path between two of its ranks
ranks that have a core each     what is usual in shared memory
more ranks than cores           the same, and the cores must do all the work of all ranks
==============================  ===============================================================================

The choice depends on p, n and the terms only, and the terms are the same on every rank: so is the choice.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator import carrier, costs
from emulator.core import wall_clock
from emulator.errors import UsageError
from primitives.collectives.persistent import cache_of
from primitives.collectives.ring import SEGMENT_BYTES
from primitives.collectives.unrooted import all_gather

ORDERED = ("recursive_doubling", "rabenseifner", "tree")
"""Algorithms that keep the order of the ranks, for operations that do not commute."""

ORDER = ("recursive_doubling", "rabenseifner", "ring", "k_ary_tree", "tree")

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
    usual : they were not measured here: `automatic` corrects the formulas where these are known to be wrong
    """

    alpha: float
    beta: float
    gamma: float
    cores: int = 0
    usual: bool = False


SHARED_MEMORY = Terms(alpha=2e-6, beta=2e-10, gamma=1e-10, usual=True)
"""An ordinary machine where every rank has a core."""


def choose(
    p: int, n: int, alpha: float, beta: float, gamma: float, cores: int = 0, among: Sequence[str] = ORDER
) -> str:
    """The algorithm that the cost formulas say is the quickest.

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
    """The algorithm that ``"auto"`` takes for n bytes on this communicator: `choose`, with two measured exceptions.

    Where every rank has a core and blocks go in segments, the ring reduces one while the next is on its way: of the
    algorithms with the least bytes it is then the quickest. Where ranks share cores, a short message of recursive
    doubling is on its way before its receiver gets a core, and no rank waits for a root, as long as p is a power of
    two. With measured terms `choose` decides alone.
    """
    p, terms = comm.Get_size(), terms_of(comm)
    if terms.usual and not carrier.of(comm).timed:
        if terms.cores and n <= SHORT_BYTES and costs.is_power_of_two(p):
            return "recursive_doubling"
        if commutative and not terms.cores and n > 2 * p * SEGMENT_BYTES:
            return "ring"
    among = (CROWDED if terms.cores else ORDER) if commutative else ORDERED
    return choose(p, n, terms.alpha, terms.beta, terms.gamma, terms.cores, among)


def set_terms(comm: MPI.Intracomm, terms: Terms | None) -> None:
    """Let ``auto`` choose by measured terms on this communicator; every rank must pass the same.

    Parameters
    ----------
    comm : the communicator; duplicates of it do not inherit the terms
    terms : what was measured, such as `terms_from` reads from a result, or None for what is usual
    """
    cache = cache_of(comm)
    cache.free()
    cache.terms = terms


def terms_from(result: str | Path | Mapping[str, Any]) -> Terms:
    """Read the terms that a saved run has measured, for `set_terms`.

    Parameters
    ----------
    result : a result, its file or its run folder: of `demos.ring`, whose collectives say what a message costs among
        many (the ring's, if it is among them), or of `demos.links`, where the slowest pair counts

    Returns
    -------
    Terms
        Where that run's ranks shared cores, with the cores that it had.

    Raises
    ------
    UsageError
        The result has no terms of messages, or there is none.

    Examples
    --------
    >>> set_terms(comm, terms_from("runs/ring/latest"))  # doctest: +SKIP
    """
    found = result if isinstance(result, Mapping) else _load(result)
    collectives = [fit for fit in found["fits"] if fit["level"] == "collective" and fit["pattern"] in (*ORDER, "auto")]
    links = [fit for fit in found["fits"] if fit["level"] == "link"]
    if not collectives and not links:
        raise UsageError(
            f"measured terms are in results of demos.ring and demos.links, got one of demos.{found['demo']} without any"
        )
    if collectives:
        fit = next((fit for fit in collectives if fit["pattern"] == "ring"), collectives[0])
        alpha, beta, gamma = (_value(fit, name) for name in ("alpha", "beta", "gamma"))
    else:
        alpha, beta = (max(_value(fit, name) or 0.0 for fit in links) for name in ("alpha", "beta"))
        gamma = None
    emulated, seen = found["clock"] != "wall", found["environment"]
    if gamma is None:
        gamma = 0.0 if emulated else SHARED_MEMORY.gamma
    shared = not emulated and seen["oversubscription"] > 1
    # Fits are made as if every rank had a core of its own: the work of a message, without waiting for a core.
    cores = max(1, round(seen["ranks"] / seen["oversubscription"])) if shared else 0
    return Terms(alpha or 0.0, beta or 0.0, gamma, cores)


def _load(path: str | Path) -> dict[str, Any]:
    from emulator import results  # most programs never need it

    return results.load(path)


def _value(fit: Mapping[str, Any], name: str) -> float | None:
    return fit[name]["value"] if fit.get(name) else None


def terms_of(comm: MPI.Intracomm) -> Terms:
    """The terms that ``auto`` chooses by on this communicator; collective the first time, when nothing was measured."""
    cache = cache_of(comm)
    if cache.terms is None:
        cache.terms = _of_network(comm) if carrier.of(comm).timed else _of_machine(comm)
    return cache.terms


def _of_network(comm: MPI.Intracomm) -> Terms:
    """The configured network's terms; the time of reducing is neglected."""
    slowest = carrier.of(comm).terms()
    if slowest is None:
        return SHARED_MEMORY
    alpha, beta = slowest
    return Terms(alpha, beta, 0.0, usual=True)


def _of_machine(comm: MPI.Intracomm) -> Terms:
    """Terms of shared memory, on the host with the most ranks per core; an all-gather gives all ranks the same."""
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
    return Terms(usual.alpha * crowding, usual.beta, usual.gamma, cores, usual=True)
