"""Agents that search a square: positions, links, measurements, and how they divide the area. No communication.

A square of 100 m has 20 x 20 cells with a height each. An agent moves, measures the heights of the cells in its sight,
with noise, and knows of each other agent when it was last heard of, by itself or by those that it hears. Agents that
were heard of lately divide the cells evenly, in the order of a line that winds through the square; an agent walks
through its own part, the cell first that it has not seen for longest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.gossip import graphs
from primitives.gossip.graphs import Graph

Array = NDArray[np.float64]
SIDE, ACROSS = 100.0, 20  # metres; cells in a row
CELLS = ACROSS * ACROSS
EDGE = 25.0  # metres from the left and right edges in which the halves stay while they are apart
SIGHT, SPEED, NOISE = 12.0, 10.0, 0.5  # metres; metres in a step; of a height
STALE = 6  # steps without news of an agent after which the others divide its part among themselves
WINDOW = 8  # a cell counts as covered if an agent has seen it within so many steps


@dataclass(frozen=True)
class World:
    """The events of a search and the radio range of its agents.

    Attributes
    ----------
    reach : radio range in metres
    apart : steps in which one half of the agents stays at the left edge and the other at the right, out of range
    empty : the step in which an agent's battery is empty, by agent
    """

    agents: int
    seed: int = 0
    reach: float = 45.0
    apart: range = range(0)
    empty: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def centres(self) -> Array:
        """Centres of the cells, shape (400, 2), along the winding line."""
        at = (np.arange(ACROSS) + 0.5) * SIDE / ACROSS
        return np.array([(x, y) for row, y in enumerate(at) for x in (at if row % 2 == 0 else at[::-1])])

    @cached_property
    def heights(self) -> Array:
        """The true height of every cell."""
        draw = np.random.default_rng((self.seed, 1))
        hills = draw.random((6, 2)) * SIDE
        away = np.linalg.norm(self.centres[:, None] - hills[None], axis=2)
        found: Array = (draw.uniform(1, 3, 6) * np.exp(-((away / 20) ** 2))).sum(axis=1)
        return found

    def __post_init__(self) -> None:
        if self.agents > CELLS:
            raise UsageError(f"the square has {CELLS} cells, at least one for each agent, got {self.agents}: start "
                             "fewer ranks")  # fmt: skip

    def living(self, agent: int, step: int) -> bool:
        """Whether an agent's battery is not yet empty."""
        return step < self.empty.get(agent, step + 1)

    def links(self, positions: Mapping[int, Array]) -> Graph:
        """The links between agents within radio range of each other, both ways."""
        places = np.array(list(positions.values()), float).reshape(-1, 2)
        return _links(self.agents, self.reach, tuple(positions), places.tobytes())


@lru_cache(maxsize=4)
def _links(agents: int, reach: float, ranks: tuple[int, ...], places: bytes) -> Graph:
    """The links of one step, which simulated agents in a process share."""
    at = np.frombuffer(places).reshape(-1, 2)
    away = np.linalg.norm(at[:, None] - at[None], axis=2)
    near = [(ranks[i], ranks[j]) for i, j in np.argwhere(away <= reach) if i != j]
    return graphs.from_edges(agents, near, name="radio")


class Agent:
    """One agent: its position and its knowledge.

    Attributes
    ----------
    heard : the step in which each agent was last heard of
    seen : the step in which this agent saw each cell last
    """

    def __init__(self, world: World, rank: int) -> None:
        self.world, self.rank = world, rank
        self.heard = np.zeros(world.agents)
        self.seen = np.full(CELLS, -1.0)
        self.position = world.centres[self.part(0)].mean(axis=0)

    def known(self, step: int) -> list[int]:
        """Agents heard of lately, itself included."""
        return [agent for agent in range(self.world.agents)
                if agent == self.rank or self.heard[agent] >= step - STALE]  # fmt: skip

    def part(self, step: int) -> NDArray[np.int64]:
        """The cells that this agent takes as its own."""
        known = self.known(step)
        return np.array_split(np.arange(CELLS), len(known))[known.index(self.rank)]

    def move(self, step: int) -> None:
        """Move towards the own cell that was not seen for longest; while groups are apart, towards an edge."""
        part = self.part(step)
        if step in self.world.apart:
            x = self.world.centres[:, 0]
            edge = np.flatnonzero(x < EDGE if self.rank < self.world.agents // 2 else x > SIDE - EDGE)
            own = np.intersect1d(part, edge, assume_unique=True)
            part = own if own.size else edge  # an agent whose part lies elsewhere walks through the whole edge
        target = self.world.centres[part[np.argmin(self.seen[part])]]
        way = target - self.position
        far = float(np.linalg.norm(way))
        self.position = target if far <= SPEED else self.position + way * SPEED / far

    def merge(self, others: Sequence[Array], step: int) -> None:
        """Update this agent's knowledge with what the agents in range have sent."""
        self.heard = np.maximum.reduce([self.heard, *others])
        self.heard[self.rank] = step

    def look(self, step: int) -> Array:
        """Measure the cells in sight: for each cell the sum and number of this step's measurements."""
        near = np.flatnonzero(np.linalg.norm(self.world.centres - self.position, axis=1) <= SIGHT)
        self.seen[near] = step
        noise = NOISE * np.random.default_rng((self.world.seed, 2, self.rank, step)).standard_normal(len(near))
        found = np.zeros((2, CELLS))
        found[0, near], found[1, near] = self.world.heights[near] + noise, 1.0
        return found.ravel()


def links_over(world: World, steps: int) -> list[Graph]:
    """The links in each step of a search in which every agent hears of all others."""
    agents, found = [Agent(world, rank) for rank in range(world.agents)], []
    for step in range(steps):
        for agent in agents:
            agent.heard[:] = step
            agent.move(step)
            agent.look(step)
        found.append(world.links({agent.rank: agent.position for agent in agents}))
    return found


def heights(mass: Array) -> Array:
    """The map from sums and numbers of measurements: heights, NaN for unknown cells."""
    sums, counts = np.split(mass[: 2 * CELLS], 2)
    found = np.full(CELLS, np.nan)
    np.divide(sums, counts, out=found, where=counts > 1e-12)
    return found


def coverage(visits: NDArray[np.bool_], step: int) -> float:
    """Share of the cells that some agent has seen in the last `WINDOW` steps; `visits` has steps and cells."""
    return float(visits[max(0, step - WINDOW + 1) : step + 1].any(axis=0).mean())


def one_process(world: World, steps: int, sensing: int, late: int) -> tuple[Array, NDArray[np.bool_]]:
    """Search without messages: every agent's mass at the end, (agents, 801), and the cells seen in every step.

    Parameters
    ----------
    sensing : steps in which the agents measure; in the others they only move and push
    late : steps that a push is under way
    """
    agents = [Agent(world, rank) for rank in range(world.agents)]
    mass = np.zeros((world.agents, 2 * CELLS + 1))
    mass[:, -1] = 1.0
    visits, pushes = np.zeros((steps, CELLS), bool), []
    for step in range(steps):
        living = [agent for agent in agents if world.living(agent.rank, step)]
        for agent in living:
            agent.move(step)
        links = world.links({agent.rank: agent.position for agent in living})
        said = [agent.heard.copy() for agent in agents]
        for agent in living:
            said[agent.rank][agent.rank] = step
        for agent in living:
            agent.merge([said[source] for source in links.sources(agent.rank)], step)
            if step < sensing:
                mass[agent.rank, :-1] += agent.look(step)
                visits[step] |= agent.seen == step
        for rank, targets in enumerate(links.neighbours):
            mass[rank] /= len(targets) + 1
            pushes += [(step, target, mass[rank].copy()) for target in targets]
        _deliver(mass, pushes, step - late)
    _deliver(mass, pushes, steps)
    return mass, visits


def _deliver(mass: Array, pushes: list[tuple[int, int, Array]], until: int) -> None:
    for push in [push for push in pushes if push[0] <= until]:
        mass[push[1]] += push[2]
    pushes[:] = [push for push in pushes if push[0] > until]
