"""Learning together without moving the data.

averaging   rounds of weighted averaging over subsets of clients, with drop-outs
diloco      local steps, one all-reduce every H of them
robust      averages that survive liars
"""

from primitives.federated.averaging import Round, Server, participate, serving, weighted_mean
from primitives.federated.diloco import DiLoCo

__all__ = ["DiLoCo", "Round", "Server", "participate", "serving", "weighted_mean"]
