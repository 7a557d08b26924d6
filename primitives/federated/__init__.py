"""Federated learning: models are sent and averaged, training data stay on their ranks.

averaging   rounds of weighted averaging over subsets of clients, with drop-outs
diloco      local steps, one all-reduce every H of them
robust      aggregation rules that tolerate clients that send wrong updates
"""

from primitives.federated.averaging import Round, Server, participate, serving, weighted_mean
from primitives.federated.diloco import DiLoCo

__all__ = ["DiLoCo", "Round", "Server", "participate", "serving", "weighted_mean"]
