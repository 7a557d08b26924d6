"""A robot swarm as a case study: agents search an area, agree on a map by gossip within radio range, and may die.

    mpirun -n 8 python -m demos.cases.swarm --net home
    python -m demos.design drill demos/cases/swarm.toml -n 8

Every rank is an agent. In a step it moves, measures the cells that it sees, and pushes a share of its map to all
agents in range, so that the links change as the agents move; a push may be a step late, and none waits for the whole
swarm. The agents divide the area among those that they have heard of lately. Half of them goes out of range and comes
back, and two batteries run empty; in the drill an agent's process is killed for real.

Who is where decides who hears whom: the agents tell each other on the control communicator, at no emulated time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import emulator
from demos._lib.cases import case, output, swarm_agents, terms
from demos._lib.cases.swarm_agents import CELLS, Agent, World
from demos._lib.timing import declared
from emulator.design.sheets.sheet import Sheet
from emulator.errors import on_root
from emulator.run.demo_run import Run
from emulator.run.options import demo
from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns.catalogue import Pattern
from faults.recover.exclusion import routing
from primitives.gossip import PushSum, graphs, mix, mixing
from primitives.gossip.graphs import Graph
from primitives.peers import OnFailure, Peers

Array = NDArray[np.float64]
RANKS, WHY = 4, "two agents in each of two halves"
STEPS, SENSING, LATE = 130, 100, 1  # in all, with measuring, and how late a push may be
APART = range(30, 50)  # steps in which the halves are out of range
STEP_S = 10e-3  # declared computing of a step in the demo
KNOWN = 0.9  # share of the cells that every agent knows after a drill
TOLERANCE = 1e-9  # of a height against the one-process run
_TAG = 681


class Air:
    """Exchanges arrays between all agents, of which each uses those from agents in range.

    Parameters
    ----------
    control : tells all ranks at no emulated time; none of them may die
    """

    on_failure: OnFailure | None = None

    def __init__(self, control: MPI.Intracomm) -> None:
        self._control = control

    def tell(self, own: Array) -> Mapping[int, Array]:
        """Exchange an array with all others; returns what arrived, by rank."""
        return dict(enumerate(self._control.allgather(own)))

    def beacons(self, living: bool, position: Array, heard: Array) -> dict[int, Array]:
        """Exchange (living, x, y, heard) between all; returns those of the living agents, by rank."""
        found = self.tell(np.concatenate([[float(living)], position, heard]))
        return {at: found[at] for at in sorted(found) if found[at][0]}


class AirOfMortals(Air):
    """Exchanges arrays by messages between agents whose processes may die.

    Parameters
    ----------
    comm : carries the messages
    on_failure : see `primitives.peers`
    """

    def __init__(self, comm: MPI.Intracomm, on_failure: OnFailure | None) -> None:
        self._peers, self.on_failure = Peers(comm, on_failure=on_failure), on_failure

    def tell(self, own: Array) -> Mapping[int, Array]:
        peers = self._peers
        others = {at: np.empty_like(own) for at in range(peers.size) if at != peers.rank}
        arrived = peers.exchange([(at, own) for at in others], list(others.items()), _TAG)
        return {at: others[at] for at in arrived} | {peers.rank: own}


@dataclass
class Log:
    """The record of an agent: cells seen in each step, the agents it counted on, the links, its map's mass."""

    visits: list[NDArray[np.int64]] = field(default_factory=list)
    known: list[list[int] | None] = field(default_factory=list)
    links: list[Graph] = field(default_factory=list)
    mass: Array = field(default_factory=lambda: np.zeros(0))


def search(
    comm: Any, air: Air, world: World, step_s: float, steps: Iterable[int] = range(STEPS), sensing: int = SENSING
) -> Log:
    """Carry out one agent's mission; all ranks call it."""
    rank = comm.Get_rank()
    agent, log = Agent(world, rank), Log()
    peers = Peers(comm, on_failure=air.on_failure)
    push = PushSum(peers, np.zeros(2 * CELLS), [graphs.complete(world.agents)], LATE)
    for step in steps:
        living = world.living(rank, step)
        if living:
            agent.move(step)
            agent.heard[rank] = step
        there = air.beacons(living, agent.position, agent.heard)
        links = world.links({at: one[1:3] for at, one in there.items()})
        if living:
            agent.merge([there[source][3:] for source in links.sources(rank)], step)
            emulator.compute(comm, step_s)
            if step < sensing:
                push.mass[:-1] += agent.look(step)
        log.visits.append(np.flatnonzero(agent.seen == step))
        log.known.append(agent.known(step) if living else None)
        log.links.append(links)
        push.rounds = [links]  # the links of this step
        push.step()
    push.finish()
    log.mass = push.mass
    return log


def scaled(sheet: Sheet, ranks: int) -> Sheet:
    """The design with an agent on each rank and this case's map; an agent computes as long as one of the sheet's."""
    return case.cut(sheet, ranks, map={"bytes": 8 * 2 * CELLS, "update": 8 * (2 * CELLS + 1)})


def data(control: MPI.Intracomm, sheet: Sheet) -> list[Graph]:
    """Links to one agent in range, in each step of a search."""

    def made() -> list[Graph]:
        world, found = World(control.Get_size()), []
        for step, near in enumerate(swarm_agents.links_over(world, STEPS)):
            one = [(i, targets[step % len(targets)]) for i, targets in enumerate(near.neighbours) if targets]
            found.append(graphs.from_edges(world.agents, one, name="radio, one peer"))
        return found

    return on_root(control, made)


def timed(comm: MPI.Intracomm, sheet: Sheet, data: list[Graph], steps: case.Steps) -> case.Ends:
    """Run steps of the search, each with a push to one agent in range, as late as the sheet's consistency allows."""
    assert sheet.consistency is not None
    p, ends = comm.Get_size(), []
    late = {"synchronous": 0, "bounded": sheet.consistency.bound}.get(sheet.consistency.model or "")
    seconds = sheet.job.t_comp / p * steps.factors(p)[:, comm.Get_rank()]
    push = PushSum(comm, np.zeros(2 * CELLS), data, late)
    for amount in seconds:
        emulator.compute(comm, float(amount))
        push.step()
        ends.append(emulator.now(comm))
    push.finish()
    return ends


def mission(agents: int, seed: int) -> World:
    """The mission: two groups out of range for a while, then the batteries of the last two agents run empty."""
    return World(agents, seed, apart=APART, empty={agents - 1: 65, agents - 2: 80})


@demo("cases.swarm", needs=RANKS, why=WHY)
def main(run: Run) -> None:
    """Search an area with agents that hear their neighbours only: map, coverage, deaths, convergence."""
    world = mission(run.size, run.seed)
    log = search(run.comm, Air(run.control), world, declared(run, STEP_S))
    logs = run.control.gather(log)
    if logs is not None:
        _phases(run, world, logs)
        _map(run, world, logs)
    _converge(run)
    output.terms(run, terms.compare(run, sys.modules[__name__], case.sheet_beside(__file__, run)))


def _phases(run: Run, world: World, logs: list[Log]) -> None:
    """Report what was covered, and whether agents of one group agree on its members, as the swarm changes."""
    visits = np.zeros((STEPS, CELLS), bool)
    for log in logs:
        for step, cells in enumerate(log.visits):
            visits[step, cells] = True
    rows: list[list[Any]] = []
    last = min(world.empty.values()), max(world.empty.values())
    for name, step in (("together", APART.start - 1), ("in two halves", APART.stop - 1), ("met again", last[0] - 1),
                       ("one battery empty", last[1] - 1), ("two batteries empty", SENSING - 1)):  # fmt: skip
        living = [agent for agent in range(world.agents) if world.living(agent, step)]
        links = logs[0].links[step]
        groups = {frozenset(links.reached(agent)) for agent in living}
        agreed = sum(len(group) for group in groups if len({str(logs[agent].known[step]) for agent in group}) == 1)
        covered = np.mean([swarm_agents.coverage(visits, one) for one in range(step - swarm_agents.WINDOW, step + 1)])
        rows.append([f"{name}, step {step}", len(living), len(groups), f"{agreed} of {len(living)}", float(covered)])
    output.table(run, f"{world.agents} agents; covered: seen within {swarm_agents.WINDOW} steps",
                 {"the swarm": "name", "living": "count", "groups": "count", "agree on parts": "plain",
                  "covered": "percent"}, rows)  # fmt: skip
    lost = (rows[2][4] - rows[4][4]) / 2
    output.text(
        run,
        f"a dead agent costs {100 * lost:.1f} % of the area's coverage; it had {100 / world.agents:.1f} % of the area.",
    )
    run.extra["phases"] = rows


def _map(run: Run, world: World, logs: list[Log]) -> None:
    """Compare the agents' maps with the true heights, with each other, and with the one-process run."""
    alone, _ = swarm_agents.one_process(world, STEPS, SENSING, LATE)
    living = [agent for agent in range(world.agents) if world.living(agent, STEPS)]
    maps = np.array([swarm_agents.heights(logs[agent].mass) for agent in living])
    expected = np.array([swarm_agents.heights(alone[agent]) for agent in living])
    known = np.isfinite(expected).all(axis=0)
    off = float(np.abs(maps - expected)[:, known].max())
    error = float(np.sqrt(np.mean((maps - world.heights)[:, known] ** 2)))
    apart = float((maps.max(axis=0) - maps.min(axis=0))[known].max())
    output.verdict(run, off <= TOLERANCE, f"heights differ from the one-process run by at most {off:.1e} "
                                          f"(allowed {TOLERANCE:g})")  # fmt: skip
    output.text(run, f"the agents know {known.sum()} of {CELLS} cells, err by {error:.2f} (a measurement by "
                     f"{swarm_agents.NOISE:g}), and differ from each other by at most {apart:.2g}.")  # fmt: skip
    run.extra["map"] = {"off": off, "known": int(known.sum()), "error": error, "apart": apart}


def _mixing_over(world: World) -> list[mixing.Mixing]:
    """The mixing matrices of 20 steps in which every agent hears of all others."""
    return [mixing.metropolis(links) for links in swarm_agents.links_over(world, 20)]


def _converge(run: Run) -> None:
    """Average over the changing links for several radio ranges; compare the contraction with the spectral gap."""
    rows: list[list[Any]] = []
    for reach in (30.0, 45.0, 70.0):
        world = World(run.size, run.seed, reach)
        schedule = run.on_root(partial(_mixing_over, world))
        value = np.random.default_rng((run.seed, run.rank)).standard_normal(64)
        mean = run.control.allreduce(value) / run.size
        before = run.control.allreduce(float(((value - mean) ** 2).sum()))
        for one in schedule:
            mix(run.comm, value, one)
        after = run.control.allreduce(float(((value - mean) ** 2).sum()))
        if run.rank == 0:
            gaps = [mixing.spectral_gap(one) for one in schedule]
            rows.append([f"{reach:g} m", float(np.mean(gaps)), mixing.contraction(schedule),
                         float((after / before) ** (1 / (2 * len(schedule))))])  # fmt: skip
    if run.rank:
        return
    output.table(run, "distance to the mean, factor of a round, over 20 rounds of changing links",
                 {"range": "name", "mean spectral gap": "figures", "at most": "figures", "measured": "figures"},
                 rows)  # fmt: skip
    worst = max(measured - most for _, _, most, measured in rows)
    output.verdict(run, worst <= TOLERANCE, "no average converges slower than its links allow")
    run.extra["convergence"] = rows


# -- the drill: agents are killed ------------------------------------------------------------------------


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Run one agent of a swarm whose agents die; it reports whom it counts on at the end, and its map's error."""
    with routing(job_comm(spec, tools), tools) as route:
        world = World(spec.ranks, spec.seed)
        log = search(route.comm, AirOfMortals(route.comm, route.lost), world, 0.0, route.steps(spec.steps))
        error = swarm_agents.heights(log.mass) - world.heights
    known = np.isfinite(error)
    return {"place": route.rank, "known": log.known[-1], "cells": int(known.sum()), "dead": sorted(route.dead),
            "error": float(np.sqrt(np.mean(error[known] ** 2)))}  # fmt: skip


def _matches(spec: JobSpec, folder: Path, results: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Compare the maps with the true heights, because measurements of the dead that were not passed on are lost."""
    counted = sorted({dead for one in results for dead in one["dead"] if dead in one["known"]})
    if counted:
        return False, f"agents still leave a part to the dead {counted}"
    cells, error = min(one["cells"] for one in results), max(one["error"] for one in results)
    text = f"{len(results)} agents divide the area, know {cells} of {CELLS} cells and err by {error:.2f} at most"
    return cells >= KNOWN * CELLS and error <= swarm_agents.NOISE, text


DRILL = Pattern(
    "swarm", "agents that search an area", ("continue",), 60, _matches, "the true heights, to a measurement's noise",
    options={"program": "demos.cases.swarm"}, least_ranks=RANKS, fewest=2,
)  # fmt: skip


if __name__ == "__main__":
    main()
