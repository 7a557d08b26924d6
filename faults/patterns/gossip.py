"""Gossip: every rank averages with its neighbours, round after round; who dies is left out, nobody repairs anything.

The survivors still come to agree, on a value within those that were put in, off the mean by at most what the dead
took along.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from faults.conditions import carrier
from faults.instruments import Instruments
from faults.job import JobSpec
from faults.patterns import work
from faults.recover.route import routing
from primitives.gossip import graphs
from primitives.gossip.averaging import mix
from primitives.gossip.mixing import metropolis
from primitives.peers import Peers

_ALL_TO_ALL_UP_TO = 6


def run(spec: JobSpec, folder: Path, tools: Instruments) -> dict[str, Any]:
    """Average `spec.steps` rounds over a random 4-regular graph (everybody with everybody in small jobs)."""
    with routing(carrier(spec, tools), tools) as route:
        peers = Peers(route.comm, on_failure=route.lost)
        small = route.size <= _ALL_TO_ALL_UP_TO
        graph = graphs.complete(route.size) if small else graphs.random_regular(route.size, 4, spec.seed)
        mixing = metropolis(graph)
        value = work.opinion(route.rank, spec.seed)
        for _ in route.steps(spec.steps):
            said = value if tools.injector is None else np.ascontiguousarray(tools.injector.spoken(value))
            began = time.thread_time()
            mix(peers, said, mixing)
            if tools.injector is not None:
                tools.injector.drag(time.thread_time() - began)
            value = said
    return {"place": route.rank, "steps": spec.steps, "value": value.tolist(), "dead": sorted(route.dead)}
