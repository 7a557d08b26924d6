"""A topology as a list of links between named hosts and switches; routes have the least latency."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from emulator.errors import UsageError
from emulator.network.topology import Fabric, Route, Topology


@dataclass(frozen=True, slots=True)
class Edge:
    """A one-way link between two nodes: latency in seconds, beta in seconds per byte."""

    source: str
    destination: str
    latency: float
    beta: float


@dataclass(frozen=True, slots=True)
class Graph(Topology):
    """Hosts and switches joined by `edges`; a name that no host has is a switch.

    A message takes the route of least latency; among equals that of fewest hops, then of the earlier edges in the file.
    """

    edges: tuple[Edge, ...]
    kind: ClassVar[str] = "links"

    def lay_out(self, names: Sequence[str], groups: Sequence[str | None], cards: Sequence[float] = ()) -> Fabric:
        found: dict[str, dict[str, Route]] = {}
        outgoing: dict[str, list[tuple[int, Edge]]] = {}
        for number, edge in enumerate(self.edges):
            outgoing.setdefault(edge.source, []).append((number, edge))

        def route(source: int, destination: int) -> Route:
            start, end = names[source], names[destination]
            if start not in found:
                found[start] = _shortest(start, outgoing, set(names))
            if end not in found[start]:
                raise UsageError(f"topology.links: there is no way from host {start!r} to host {end!r}: add a link")
            return found[start][end]

        return Fabric([(f"{edge.source} > {edge.destination}", edge.beta) for edge in self.edges], route, groups)


def _shortest(start: str, outgoing: dict[str, list[tuple[int, Edge]]], hosts: set[str]) -> dict[str, Route]:
    """Find the routes from one node to all others (Dijkstra); hosts do not forward messages."""
    routes: dict[str, Route] = {}
    frontier: list[tuple[float, int, tuple[int, ...], str]] = [(0.0, 0, (), start)]
    while frontier:
        latency, hops, links, node = heapq.heappop(frontier)
        if node in routes:
            continue
        routes[node] = Route(latency, links)
        if node != start and node in hosts:
            continue
        for number, edge in outgoing.get(node, ()):
            heapq.heappush(frontier, (latency + edge.latency, hops + 1, (*links, number), edge.destination))
    return routes
