"""Gossip: every rank averages with its neighbours in each round; dead ranks are left out.

The survivors still come to agree, on a value within those that were put in. Which one depends on whose last message
reached whom, so every rank writes down from which round on it misses whom, and the oracle mixes again by that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns import work
from faults.record.journal import What
from faults.recover.exclusion import Route, routing
from primitives.gossip import graphs
from primitives.gossip.averaging import mix
from primitives.gossip.mixing import Mixing, metropolis
from primitives.peers import TAG, Messages, Peers

_ALL_TO_ALL_UP_TO = 6
_ROUNDING = 1e-9


def mixing_of(size: int, seed: int) -> Mixing:
    """The mixing of a job: the complete graph in small jobs, else a random 4-regular one."""
    small = size <= _ALL_TO_ALL_UP_TO
    return metropolis(graphs.complete(size) if small else graphs.random_regular(size, 4, seed))


class Witness(Peers):
    """Peers that journal the first round in which a neighbour's message is missing."""

    def __init__(self, route: Route) -> None:
        super().__init__(route.comm, on_failure=route.lost)
        self._journal, self._round = route.drill.journal, 0
        self._missed: set[int] = set()

    def exchange(self, sends: Messages, receives: Messages, tag: int = TAG) -> dict[int, int]:
        arrived = super().exchange(sends, receives, tag)
        for source in {source for source, _ in receives} - set(arrived) - self._missed:
            self._missed.add(source)
            self._journal.write(What.MISSED, step=self._round, whom=source)
        self._round += 1
        return arrived


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Average for `spec.steps` rounds."""
    with routing(job_comm(spec, tools), tools) as route:
        peers, mixing = Witness(route), mixing_of(route.size, spec.seed)
        value = work.opinion(route.rank, spec.seed)
        # Averages of ones are ones. Its peers are others: what does not arrive here is not what a round missed.
        load, carriers = work.ballast(spec.options["ballast"]), Peers(route.comm, on_failure=route.lost)
        for step in route.steps(spec.steps):
            if work.loaded(load.nbytes, step):
                mix(carriers, load, mixing)
            said = np.ascontiguousarray(tools.falsified(value))
            with tools.computing():
                mix(peers, said, mixing)
            value = said
    wrong = int((np.abs(load - 1.0) > _ROUNDING).sum())
    return {
        "place": route.rank,
        "steps": spec.steps,
        "value": value.tolist(),
        "wrong": wrong,
        "dead": sorted(route.dead),
    }
