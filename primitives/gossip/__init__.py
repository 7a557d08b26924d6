"""Gossip: averages and rumours by messages between neighbours only.

    graphs         which rank sends to which            mixing         weights, spectral gap, contraction
    schedules      one-peer exponential, base graph     averaging      neighbour averaging, push-sum
    asynchronous   push-sum and pairwise, no rounds     rumour         push, pull, push-pull
    overlap        push-sum with messages that may be some rounds late, beside computing

The ranks that take part, and what happens when one dies, are `primitives.peers.Peers`.
"""

from primitives.gossip.averaging import PushSum, average, mix
from primitives.gossip.graphs import Graph
from primitives.gossip.mixing import Mixing
from primitives.gossip.overlap import OverlapPush
from primitives.gossip.rumour import spread
from primitives.peers import Peers

__all__ = ["Graph", "Mixing", "OverlapPush", "Peers", "PushSum", "average", "mix", "spread"]
