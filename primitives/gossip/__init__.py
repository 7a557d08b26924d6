"""Gossip: averages and rumours by messages between neighbours only.

    graphs         which rank sends to which            mixing         weights, spectral gap, contraction
    schedules      one-peer exponential, base graph     averaging      neighbour averaging
    push_sum       one-way edges, messages may be late  rumour         push, pull, push-pull

The ranks that take part, and what happens when one dies, are `primitives.peers.Peers`.
"""

from primitives.gossip.averaging import average, mix
from primitives.gossip.graphs import Graph
from primitives.gossip.mixing import Mixing
from primitives.gossip.push_sum import PushSum
from primitives.gossip.rumour import spread
from primitives.peers import Peers

__all__ = ["Graph", "Mixing", "Peers", "PushSum", "average", "mix", "spread"]
