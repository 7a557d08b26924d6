"""Closed loop: compare the alpha and beta that a run recovered with those configured for its network."""

from collections.abc import Sequence
from typing import Any

from emulator import costs
from emulator.measure.model import Coefficients
from emulator.measure.terms import RunFits
from emulator.network.model import Network, Path

TOLERANCE = 0.01


def configured_terms(network: Network | None, source: int = 0, destination: int = 1) -> dict[str, float] | None:
    """alpha (s) and beta (s/byte) of the path between two ranks; None without a network."""
    if network is None:
        return None
    path = network.between(source, destination)
    return {"alpha": path.alpha, "beta": path.beta}


def steady(path: Path) -> bool:
    """Whether every message of one size takes the same time on the path: no jitter and no loss."""
    return path.jitter is None and path.loss is None


_ROUNDING = 1e-15
"""Fitted latencies below this many seconds count as 0: it is what rounding leaves of a configured 0."""


def compare(what: str, path: Path, alpha: float, beta: float) -> list[dict[str, Any]]:
    """Compare a path's alpha and beta with recovered ones, each PASS within 1 %."""
    if abs(alpha) < _ROUNDING:
        alpha = 0.0
    pairs = (("alpha", path.alpha, alpha, "us", 1e6), ("beta", path.beta, beta, "ns/B", 1e9))
    return [
        {
            "what": what,
            "term": term,
            "configured": wanted * factor,
            "recovered": got * factor,
            "unit": unit,
            "passed": abs(got - wanted) <= TOLERANCE * wanted,
        }
        for term, wanted, got, unit, factor in pairs
    ]


def compare_link(network: Network, source: int, destination: int, found: Coefficients) -> list[dict[str, Any]]:
    """Compare the fit of a link with its path; no checks where messages differ by more than their size."""
    path = network.between(source, destination)
    if not steady(path) or not network.spec.linear:
        return []
    return compare(f"link {source} -> {destination}", path, found.alpha, found.beta)


def closed_loop(
    found: RunFits, network: Network, ranks: Sequence[int], compute: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare the fits of a run on an emulated network with its configuration.

    Parameters
    ----------
    ranks : the numbers of ranks that were measured
    compute : the run's ``--compute``: only with ``"none"`` does nothing but the network take emulated time

    Returns
    -------
    checks, unchecked
        Checks of the link between ranks 0 and 1 and of the collectives; and in words what could not be checked.
    """
    first = network.between(0, 1)
    if compute != "none":
        return [], [
            "--compute measured adds the ranks' own CPU time, so that terms cannot be compared with the network's"
        ]
    if not steady(first):
        return [], ["jitter and loss make every message differ, so that terms cannot be compared with the network's"]
    checks, unchecked = compare_link(network, 0, 1, found.link.headline), []
    if not network.spec.linear:
        return [], ["no one alpha and beta with a protocol, segments or slow start"]
    if not _alike(network, max(ranks)):
        return checks, ["the ranks' paths differ, so that no one alpha and beta describe a collective"]
    several = {pattern for pattern, *_ in found.algorithms}
    unchecked += [f"{pattern}: its algorithm differs between sizes and numbers of ranks" for pattern in several]
    for pattern, fitted in found.collectives.items():
        if pattern in several:
            continue
        inexact = [p for p in ranks if not costs.collective(pattern).is_linear(p)]
        if inexact:
            unchecked.append(f"{pattern} on {inexact} ranks: messages queue there, which no alpha and beta describe")
        else:
            checks += compare(pattern, first, fitted.headline.alpha, fitted.headline.beta)
    return checks, unchecked


def _alike(network: Network, ranks: int) -> bool:
    """Whether every rank has a host of its own and all paths are equal and share nothing."""
    hosts = {network.host_of(rank) for rank in range(ranks)}
    paths = {(path.alpha, path.beta, path.links) for path in network.paths_between(range(ranks))}
    return len(hosts) == ranks and len(paths) == 1 and not next(iter(paths))[2]
