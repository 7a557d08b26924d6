"""The swarm: agents without messages, the search on ranks beside them, and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos._lib.cases import swarm_agents
from demos._lib.cases.swarm_agents import CELLS, Agent, World
from emulator import results
from emulator.errors import UsageError
from tests.demos.launched import simulate_demo
from tests.simulated import on_simulated_ranks


@on_simulated_ranks(5, net="home", reach=[25.0, 45.0])
def test_every_agent_s_map_is_that_of_one_process(comm: Any, reach: float) -> None:
    from demos.cases.swarm import LATE, AirOfMortals, search

    world = World(5, 3, reach, apart=range(10, 18), empty={4: 20})
    log = search(comm, AirOfMortals(comm, None), world, 0.0, range(30), 24)
    mass, visits = swarm_agents.one_process(world, 30, 24, LATE)
    assert np.allclose(log.mass, mass[comm.Get_rank()], rtol=0, atol=1e-9)
    assert all(visits[step, cells].all() for step, cells in enumerate(log.visits[:24]))
    assert (log.known[-1] is None) == (comm.Get_rank() == 4)
    assert log.known[19] is not None


@pytest.mark.parametrize("agents", [4, 8, 16, 64, CELLS])
def test_agents_of_any_number_go_to_their_half_s_edge_while_they_are_apart(agents: int) -> None:
    world = World(agents, apart=range(1, 40))
    for rank in {0, 1, agents // 2 - 1, agents // 2, agents - 1}:
        agent = Agent(world, rank)
        for step in range(1, 15):
            agent.move(step)
        x = float(agent.position[0])
        assert x < swarm_agents.EDGE if rank < agents // 2 else x > swarm_agents.SIDE - swarm_agents.EDGE


def test_more_agents_than_cells_are_refused() -> None:
    with pytest.raises(UsageError, match="400 cells, at least one for each agent, got 401"):
        World(CELLS + 1)


@on_simulated_ranks(5, net="home", model=["asynchronous", "synchronous"])
def test_a_step_waits_for_nobody_unless_it_is_synchronous(comm: Any, model: str) -> None:
    from demos._lib.cases import case
    from demos.cases import swarm

    sheet = swarm.scaled(case.sheet_beside(swarm.__file__), 5)
    assert sheet.consistency is not None
    sheet = sheet.model_copy(update={"consistency": sheet.consistency.model_copy(update={"model": model})})
    ends = swarm.timed(comm, sheet, swarm.data(comm, sheet), case.Steps(12, 0.5, 1))
    seconds = sheet.job.t_comp / 5 * case.Steps(12, 0.5, 1).factors(5)[:, comm.Get_rank()]
    late = np.array(ends) - np.cumsum(seconds)
    longest = float(np.ptp(late))
    if model == "asynchronous":
        assert longest < 0.05 * seconds.sum()
    else:
        assert max(comm.allgather(longest)) > 0.5 * sheet.job.t_comp / 5  # the fastest waits for the slowest


def test_agents_divide_all_cells_and_leave_none_to_the_silent() -> None:
    world = World(6)
    agents = [Agent(world, rank) for rank in range(5)]
    for agent in agents:
        agent.heard[:5] = 20
    parts = [agent.part(20 + swarm_agents.STALE) for agent in agents]
    assert sorted(np.concatenate(parts).tolist()) == list(range(CELLS))
    agents[0].heard[5] = 20
    assert agents[0].known(20 + swarm_agents.STALE) == [0, 1, 2, 3, 4, 5]
    assert agents[0].known(21 + swarm_agents.STALE) == [0]


def test_what_is_measured_is_conserved_by_those_who_live() -> None:
    world = World(4, 1, reach=60.0)
    mass, visits = swarm_agents.one_process(world, 20, 15, 2)
    assert mass[:, -1].sum() == pytest.approx(4.0, rel=1e-12)
    counts = mass[:, CELLS : 2 * CELLS].sum(axis=0)
    assert np.allclose(counts, np.round(counts), atol=1e-9)
    assert ((counts > 0.5) == visits.any(axis=0)).all()


def test_maps_agree_and_come_close_to_the_heights_only_within_range() -> None:
    far, near = (swarm_agents.one_process(World(6, 2, reach), 60, 40, 1)[0] for reach in (5.0, 60.0))
    apart = [np.ptp([swarm_agents.heights(mass) for mass in of], axis=0) for of in (far, near)]
    assert np.isnan(apart[0]).any()  # who hears nobody knows what it has seen itself
    assert np.nanmax(apart[1]) < 0.1


def test_links_go_both_ways_and_end_at_the_range() -> None:
    links = World(3, reach=10.0).links({0: np.zeros(2), 2: np.array([10.0, 0.0]), 1: np.array([0.0, 10.5])})
    assert links.symmetric
    assert links.neighbours == ((2,), (), (0,))


def test_the_drill_is_held_to_the_truth() -> None:
    from demos.cases import swarm

    good = {"place": 0, "known": [0, 1], "dead": [2], "cells": 400, "error": 0.2}
    assert swarm.DRILL.matches(None, Path(), [good])[0]  # type: ignore[arg-type]
    for wrong in ({"known": [0, 1, 2]}, {"cells": 100}, {"error": 0.9}):
        assert not swarm.DRILL.matches(None, Path(), [good | wrong])[0]  # type: ignore[arg-type]


def test_the_case_runs_on_simulated_ranks(tmp_path: Path) -> None:
    """Its map is that of one process, and a step takes what its sheet says: both are verdicts of the run."""
    done = simulate_demo("cases.swarm", 4, tmp_path, "--net", "home")
    assert done.status == 0, done.text
    found = results.load(tmp_path)
    assert found["clock"] == "simulated"
    terms = next(part["terms"] for part in found["case"] if "terms" in part)
    compute = terms["rows"][0]
    assert compute["term"] == "compute"
    assert compute["measured"] == pytest.approx(compute["predicted"], rel=1e-9)
