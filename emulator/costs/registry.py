"""The registry of patterns, and the functions that price one by its name; see `emulator.costs`."""

from typing import Any

from emulator.costs import gossip, scatter_gather, servers
from emulator.costs.collectives import COLLECTIVES
from emulator.costs.model import Pattern, Price, Terms
from emulator.errors import Registry

PATTERNS: Registry[Pattern] = Registry(
    "a pattern with a cost formula", *COLLECTIVES.values(), gossip.GOSSIP, gossip.ONE_PEER, gossip.PUSH_SUM,
    gossip.RUMOUR, servers.FEDERATED, servers.PARAMETER_SERVER, servers.SERIAL_SERVER, servers.INCAST,
    scatter_gather.SCATTER_GATHER, scatter_gather.TASKS,
)  # fmt: skip
pattern, collective = PATTERNS.of, COLLECTIVES.of


def price(name: str, alpha: float, beta: float, gamma: float, p: Any, n: float, **options: Any) -> Price:
    """Price the pattern `name` by term; see `Pattern.price`."""
    return pattern(name).price(alpha, beta, gamma, p, n, **options)


def terms(name: str, p: int, **options: Any) -> Terms:
    """Coefficients S(p), V(p) and R(p) of the pattern `name`."""
    return pattern(name).terms(p, **options)


def seconds(name: str, p: Any, n: float, alpha: float, beta: float, gamma: float = 0.0, **options: Any) -> Any:
    """Time of the pattern `name` on p ranks for n bytes, by the closed form."""
    return pattern(name).price(alpha, beta, gamma, p, n, **options).seconds


def exact(name: str, p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float = 0.0) -> float:
    """Time of a collective on an idle emulated network; see `Collective.exact`."""
    return collective(name).exact(p, count, itemsize, alpha, beta, gamma)
