"""Federated learning: models are sent and averaged, training data stay on their ranks.

averaging   rounds of weighted averaging over subsets of clients, with drop-outs
diloco      local steps, one all-reduce every H of them
rules       aggregation rules: the weighted mean, and rules that tolerate clients that send wrong updates; no MPI
"""
