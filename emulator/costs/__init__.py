"""The price of every communication pattern, in the Hockney model: one registry, `PATTERNS`.

A message of n bytes between two idle ranks takes alpha + beta n seconds; reducing n bytes takes gamma n. A pattern
on p ranks then costs

    T(p, n) = alpha S(p) + beta V(p) n + gamma R(p) n      and what it waits for a resource that ranks share

with S the messages that follow one another, V n the bytes that do, and R n the bytes reduced one after another.
`price` gives the parts and the bytes of any pattern, `terms` gives S, V and R: they are what `emulator.measure.fit`
fits. The idle emulated network can be faster or slower than the form: it has no integer fraction of an element, it lets
a sender's messages overlap their latencies, and messages that meet queue at a card. `exact` gives that time for a
collective, to the last bit of the model, for one rank per host and any p; `timeline` for rounds, `incast`,
`linear_blocks` and the trees for uneven paths and blocks.

Sources: Hockney, "The communication challenge for MPP" (1994); Thakur, Rabenseifner and Gropp, "Optimization of
collective communication operations in MPICH" (2005); Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms"
(2009); Chan, Heimlich, Purkayastha and van de Geijn, "Collective communication: theory, practice, and experience"
(2007); each entry names its own.
"""

from typing import Any

from emulator.costs import gossip, scatter_gather, servers
from emulator.costs.collectives import ALL_REDUCES, COLLECTIVES
from emulator.costs.gossip import rumour_rounds, timeline
from emulator.costs.model import Collective, Pattern, Price, Terms, is_power_of_two
from emulator.costs.scatter_gather import (
    answer_time,
    dynamic_tasks,
    linear_blocks,
    tree_gather_blocks,
    tree_scatter_blocks,
)
from emulator.costs.servers import incast
from emulator.errors import Registry

__all__ = [
    "ALL_REDUCES", "COLLECTIVES", "PATTERNS", "Collective", "Pattern", "Price", "Terms", "answer_time", "collective",
    "dynamic_tasks", "exact", "incast", "is_power_of_two", "linear_blocks", "pattern", "price", "rumour_rounds",
    "seconds", "terms", "timeline", "tree_gather_blocks", "tree_scatter_blocks",
]  # fmt: skip

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
