"""Traffic of the emulated network: messages and bytes per pair of hosts, busy seconds of each card and link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emulator.core.routes import Routes
from emulator.network import Network


@dataclass(frozen=True)
class Resource:
    """One side of a card or a shared link, and what it carried; `busy` is in emulated seconds."""

    name: str
    messages: int
    bytes: int
    busy: float


@dataclass(frozen=True)
class Traffic:
    """The traffic of a job.

    Attributes
    ----------
    seconds : emulated time of the last rank
    pairs : (source host, destination host) -> (messages, bytes), hosts by index; a host to itself is its loopback
    resources : every side of a card and every shared link that carried something, the busiest first
    """

    seconds: float
    pairs: dict[tuple[int, int], tuple[int, int]]
    resources: list[Resource]

    @property
    def messages(self) -> int:
        return sum(row[0] for row in self.pairs.values())

    @property
    def bytes(self) -> int:
        return sum(row[1] for row in self.pairs.values())

    @property
    def busiest(self) -> Resource | None:
        return self.resources[0] if self.resources else None

    def describe(self, network: Network) -> dict[str, Any]:
        """The traffic in the form of a result file."""
        names = [host.name for host in network.hosts]
        return {
            "seconds": self.seconds,
            "messages": self.messages,
            "bytes": self.bytes,
            "pairs": [
                {"from": names[a], "to": names[b], "messages": row[0], "bytes": row[1]}
                for (a, b), row in sorted(self.pairs.items())
            ],
            "resources": [vars(resource) for resource in self.resources],
        }


Row = tuple[float, list[tuple[int, int, int, int]]]
"""A rank's emulated time, and (its host, the other's host, messages, bytes) for each rank that it sent to."""


def of_rank(now: float, routes: Routes) -> Row:
    """The messages and bytes that one rank has sent to each other, and its emulated time `now`."""
    return now, [(routes.host, way.host, way.messages, way.bytes) for way in routes.values() if way.messages]


def total(network: Network, rows: Sequence[Row]) -> Traffic:
    """Add up the traffic of all ranks."""
    pairs: dict[tuple[int, int], tuple[int, int]] = {}
    for _, entries in rows:
        for source, destination, messages, size in entries:
            before = pairs.get((source, destination), (0, 0))
            pairs[source, destination] = before[0] + messages, before[1] + size
    return Traffic(max(row[0] for row in rows), pairs, _resources(network, pairs))


def _resources(network: Network, pairs: dict[tuple[int, int], tuple[int, int]]) -> list[Resource]:
    """The load of each card and link by the traffic of pairs of hosts, the busiest first."""
    loads: dict[str, tuple[int, int, float]] = {}

    def load(name: str, messages: int, size: int, busy: float) -> None:
        before = loads.get(name, (0, 0, 0.0))
        loads[name] = before[0] + messages, before[1] + size, before[2] + busy

    for (source, destination), (messages, size) in pairs.items():
        if source == destination:
            continue
        path = network.path(source, destination)
        out, into = network.hosts[source], network.hosts[destination]
        load(f"{out.name} out", messages, size, max(messages * out.nic.gap, size * out.nic.egress_beta))
        load(f"{into.name} in", messages, size, size * path.beta)
        for index in path.links:
            link = network.links[index]
            load(link.name, messages, size, size * link.beta)
    found = [Resource(name, *row) for name, row in loads.items()]
    return sorted(found, key=lambda one: (-one.busy, one.name))
