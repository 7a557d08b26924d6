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

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.costs.collectives import ALL_REDUCES, COLLECTIVES
    from emulator.costs.gossip import rumour_rounds, timeline
    from emulator.costs.model import Collective, Pattern, Price, Terms, is_power_of_two
    from emulator.costs.registry import PATTERNS, collective, exact, pattern, price, seconds, terms
    from emulator.costs.scatter_gather import (
        answer_time,
        dynamic_tasks,
        linear_blocks,
        tree_gather_blocks,
        tree_scatter_blocks,
    )
    from emulator.costs.servers import incast

__all__ = [
    "ALL_REDUCES", "COLLECTIVES", "PATTERNS", "Collective", "Pattern", "Price", "Terms", "answer_time", "collective",
    "dynamic_tasks", "exact", "incast", "is_power_of_two", "linear_blocks", "pattern", "price", "rumour_rounds",
    "seconds", "terms", "timeline", "tree_gather_blocks", "tree_scatter_blocks",
]  # fmt: skip

_MODULES = ("model", "registry", "collectives", "gossip", "scatter_gather", "servers")


def __getattr__(name: str) -> Any:
    """Import what is named when it is first used: all of it takes 25 ms, and a rank whose demo names it seldom asks."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _MODULES:
        found = vars(import_module(f"{__name__}.{module}"))
        if name in found:
            globals()[name] = found[name]
            return found[name]
    raise AttributeError(name)
