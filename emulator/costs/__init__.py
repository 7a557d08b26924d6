"""Closed-form cost of every communication pattern, in the Hockney model.

A message of n bytes between two idle ranks takes alpha + beta n seconds; reducing n bytes takes gamma n. A pattern
on p ranks then costs

    T(p, n) = alpha S(p) + beta V(p) n + gamma R(p) n

with S the messages that follow one another, V n the bytes that do, and R n the bytes reduced one after another.
`terms` gives S, V and R; they are what `emulator.measure.fit` fits. The idle emulated network can be faster or slower
than the form: it has no integer fraction of an element, it lets a sender's messages overlap their latencies, and
messages that meet queue at a card. `exact` gives that time, to the last bit of the model, for one rank per host and
any p.

Sources: Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH" (2005);
Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms" (2009); Chan, Heimlich, Purkayastha and van de Geijn,
"Collective communication: theory, practice, and experience" (2007).
"""

from emulator.costs.idle import block_terms, exact, is_linear
from emulator.costs.model import Exact, Pattern, Terms, ceil_lg, floor_lg, is_power_of_two
from emulator.costs.patterns import (
    PATTERNS,
    bus_factor,
    largest_block,
    pattern,
    seconds,
    terms,
    work,
)
from emulator.costs.rumours import rumour_rounds
from emulator.costs.scatter_gather import (
    answer_time,
    dynamic_tasks,
    linear_blocks,
    straggler_share,
    tree_gather_blocks,
    tree_scatter_blocks,
)
from emulator.costs.servers import incast, parameter_server, parameter_server_duplex, parameter_server_free

__all__ = [
    "PATTERNS",
    "Exact",
    "Pattern",
    "Terms",
    "answer_time",
    "block_terms",
    "bus_factor",
    "ceil_lg",
    "dynamic_tasks",
    "exact",
    "floor_lg",
    "incast",
    "is_linear",
    "is_power_of_two",
    "largest_block",
    "linear_blocks",
    "parameter_server",
    "parameter_server_duplex",
    "parameter_server_free",
    "pattern",
    "rumour_rounds",
    "seconds",
    "straggler_share",
    "terms",
    "tree_gather_blocks",
    "tree_scatter_blocks",
    "work",
]
