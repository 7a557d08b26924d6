"""Gossip of equal values around the dead, by `faults.routing`: whoever is left out, the value stays as it is."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np

import faults
from primitives.gossip import graphs
from primitives.gossip.averaging import mix
from primitives.gossip.mixing import metropolis
from primitives.peers import Peers
from tests.faults.programs import STEPS
from tests.faults.programs.loop import arm_in_step, world


def run() -> None:
    """Add the value up over all steps; the first rank that is left prints the sum."""
    steps, total = int(os.environ.get(STEPS, 30)), 0.0
    with faults.routing(world()) as route:
        peers = Peers(route.comm, on_failure=route.lost)
        mixing, value = metropolis(graphs.ring(route.size)), np.ones(1)
        for step in route.steps(steps):
            arm_in_step(SimpleNamespace(step=step, place=route.rank))
            mix(peers, value, mixing)
            total += value[0]
    if route.rank == route.living[0]:
        print(f"{steps} steps, total {total:.3f}", flush=True)


if __name__ == "__main__":
    run()
