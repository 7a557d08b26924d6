"""Topologies: which shared links a message crosses between two hosts, and what latency they add.

A topology is a small frozen description. Laid out on a number of hosts it becomes a `Fabric`: a list of links, each
in one direction, and a route for every pair. The cable between a host and its first switch is the host's network
card (`emulator.network.model.Nic`) and does not appear here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from emulator.errors import UsageError


@dataclass(frozen=True, slots=True)
class Route:
    """Latency in seconds that the topology adds between two hosts, and the shared links in order of travel."""

    alpha: float = 0.0
    links: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fabric:
    """A topology laid out: `links` are (name, seconds per byte), `route` takes two host indices.

    `groups` names each host's rack or region; None where there are none.
    """

    links: list[tuple[str, float]]
    route: Callable[[int, int], Route]
    groups: Sequence[str | None]


class Topology:
    """How hosts are wired; base class.

    Attributes
    ----------
    kind : its name in network files
    by_group : hosts of one group, and like cards, have like paths; False where a path depends on the places of both
    """

    kind: ClassVar[str]
    by_group: ClassVar[bool] = True

    def lay_out(self, names: Sequence[str], groups: Sequence[str | None], cards: Sequence[float] = ()) -> Fabric:
        """Wire hosts of these names.

        A host that the file puts into a rack or region has it in `groups`; `cards` are the seconds per byte at which
        each host sends.
        """
        raise NotImplementedError

    def starts(self, hosts: Sequence[int]) -> Sequence[int]:
        """Those of `hosts`, in order, whose paths to the others include every kind if cards are alike.

        From one host alone where they are all alike in the topology: a path for each pair would cost p squared.
        """
        return hosts


@dataclass(frozen=True, slots=True)
class Flat(Topology):
    """One ideal switch: the hosts' network cards are the only shared resources."""

    kind: ClassVar[str] = "flat"

    def lay_out(self, names: Sequence[str], groups: Sequence[str | None], cards: Sequence[float] = ()) -> Fabric:
        return Fabric([], lambda source, destination: Route(), groups)


@dataclass(frozen=True, slots=True)
class LatencyOnly(Topology):
    """A topology with the latencies of another one, over links of unlimited bandwidth."""

    of: Topology
    kind: ClassVar[str] = "latency-only"
    by_group: ClassVar[bool] = False

    def lay_out(self, names: Sequence[str], groups: Sequence[str | None], cards: Sequence[float] = ()) -> Fabric:
        fabric = self.of.lay_out(names, groups, [1.0] * len(names))
        return Fabric([], lambda source, destination: Route(fabric.route(source, destination).alpha), fabric.groups)

    def starts(self, hosts: Sequence[int]) -> Sequence[int]:
        return self.of.starts(hosts)


@dataclass(frozen=True, slots=True)
class Racks(Topology):
    """Racks of hosts under one core; each rack shares one uplink and one downlink.

    Attributes
    ----------
    hosts_per_rack : consecutive hosts in a rack, for hosts whose rack is not given
    uplink_beta : seconds per byte of a rack's uplink, and of its downlink
    uplink_latency : seconds that a message to another rack takes longer
    oversubscription : instead of `uplink_beta`: the rack's cards together over its uplink; 0.0 where that is given
    """

    hosts_per_rack: int
    uplink_beta: float
    uplink_latency: float
    oversubscription: float = 0.0
    kind: ClassVar[str] = "racks"

    def lay_out(self, names: Sequence[str], groups: Sequence[str | None], cards: Sequence[float] = ()) -> Fabric:
        racks = [group or f"rack{index // self.hosts_per_rack}" for index, group in enumerate(groups)]
        order = {rack: number for number, rack in enumerate(dict.fromkeys(racks))}
        betas = [self._uplink(racks, groups, cards, rack) for rack in order]
        links = [(f"{rack} {way}", beta) for rack, beta in zip(order, betas, strict=True) for way in ("up", "down")]

        def route(source: int, destination: int) -> Route:
            here, there = order[racks[source]], order[racks[destination]]
            if here == there:
                return Route()
            return Route(self.uplink_latency, (2 * here, 2 * there + 1))

        return Fabric(links, route, racks)

    def _uplink(self, racks: Sequence[str], groups: Sequence[str | None], cards: Sequence[float], rack: str) -> float:
        """Seconds per byte of a rack's uplink."""
        if not self.oversubscription:
            return self.uplink_beta
        members = [index for index, its in enumerate(racks) if its == rack]
        together = sum(1 / cards[index] for index in members)
        if groups[members[0]] is None:  # the last rack of a job may not be full, and has the others' uplink
            together *= self.hosts_per_rack / len(members)
        return self.oversubscription / together


@dataclass(frozen=True, slots=True)
class FatTree(Topology):
    """A three-level fat tree of switches with `radix` ports: full bisection, but flows can meet on a link.

    Pod of radix/2 edge and radix/2 aggregation switches; (radix/2)**2 core switches; radix**3/4 hosts at most.
    The destination alone chooses the way up (D-mod-k), so that incast meets on one link and permutations spread.

    Attributes
    ----------
    radix : ports of a switch, even; 0 takes the smallest that has room for the hosts
    beta : seconds per byte of each link between switches
    hop_latency : seconds for each link between switches that a message crosses (0, 2 or 4)

    Source: Al-Fares, Loukissas and Vahdat, SIGCOMM 2008; Zahavi (2010) for D-mod-k.
    """

    radix: int
    beta: float
    hop_latency: float
    kind: ClassVar[str] = "fat-tree"
    by_group: ClassVar[bool] = False

    def lay_out(self, names: Sequence[str], groups: Sequence[str | None], cards: Sequence[float] = ()) -> Fabric:
        radix = self.radix or next(k for k in range(2, 1000, 2) if k**3 // 4 >= len(names))
        if len(names) > radix**3 // 4:
            raise UsageError(
                f"topology.radix: a fat tree of radix {radix} has room for {radix**3 // 4} hosts, not for "
                f"{len(names)}: raise the radix, or leave it out"
            )
        half = radix // 2
        pods = -(-len(names) // half**2)
        links: list[tuple[str, float]] = []
        index: dict[tuple[str, int, int, int], int] = {}
        for pod in range(pods):
            for one in range(half):
                for other in range(half):
                    for level, name in (
                        ("up", f"pod{pod} edge{one} > agg{other}"),
                        ("down", f"pod{pod} agg{other} > edge{one}"),
                        ("out", f"pod{pod} agg{one} > core{one * half + other}"),
                        ("in", f"core{one * half + other} > pod{pod} agg{one}"),
                    ):
                        index[level, pod, one, other] = len(links)
                        links.append((name, self.beta))

        def route(source: int, destination: int) -> Route:
            if source // half == destination // half:
                return Route()
            (from_pod, from_edge), (to_pod, to_edge) = (divmod(host // half, half) for host in (source, destination))
            agg, core = destination % half, destination // half % half
            up, down = index["up", from_pod, from_edge, agg], index["down", to_pod, to_edge, agg]
            if from_pod == to_pod:
                return Route(2 * self.hop_latency, (up, down))
            across = index["out", from_pod, agg, core], index["in", to_pod, agg, core]
            return Route(4 * self.hop_latency, (up, *across, down))

        return Fabric(links, route, groups)

    def starts(self, hosts: Sequence[int]) -> Sequence[int]:
        # Pods and edge switches are filled in order: if any of them has two hosts, the first has.
        return hosts[:1] if hosts == list(range(len(hosts))) else hosts


@dataclass(frozen=True, slots=True)
class Torus(Topology):
    """Hosts on a grid that wraps around; dimension-order routing, in the shorter direction of each dimension.

    Attributes
    ----------
    dimensions : hosts in each direction; empty makes the squarest grid of two dimensions
    beta : seconds per byte of each link between neighbours
    hop_latency : seconds for each hop after the first
    """

    dimensions: tuple[int, ...]
    beta: float
    hop_latency: float
    kind: ClassVar[str] = "torus"
    by_group: ClassVar[bool] = False

    def lay_out(self, names: Sequence[str], groups: Sequence[str | None], cards: Sequence[float] = ()) -> Fabric:
        shape = self.dimensions or _squarest(len(names))
        places = math.prod(shape)
        if len(names) > places:
            raise UsageError(
                f"topology.dimensions: {list(shape)} has {places} places, not {len(names)}: enlarge it, or leave it out"
            )
        # Link number: (place * dimensions + dimension) * 2 + direction.
        links = [
            (f"{_coordinates(place, shape)} {sign}{dimension}", self.beta)
            for place in range(places)
            for dimension in range(len(shape))
            for sign in "+-"
        ]

        def route(source: int, destination: int) -> Route:
            here, there = _coordinates(source, shape), _coordinates(destination, shape)
            taken = []
            for dimension, size in enumerate(shape):
                ahead = (there[dimension] - here[dimension]) % size
                backwards = 2 * ahead > size
                for _ in range(size - ahead if backwards else ahead):
                    taken.append((_place(here, shape) * len(shape) + dimension) * 2 + backwards)
                    here[dimension] = (here[dimension] + (-1 if backwards else 1)) % size
            return Route((len(taken) - 1) * self.hop_latency, tuple(taken))

        return Fabric(links, route, groups)

    def starts(self, hosts: Sequence[int]) -> Sequence[int]:
        # Every place of a torus sees the same distances, if none is empty.
        return hosts[:1] if hosts == list(range(math.prod(self.dimensions or (len(hosts),)))) else hosts


@dataclass(frozen=True, slots=True)
class Regions(Topology):
    """Regions with a matrix of latencies; hosts of two regions share the pipe between them, if it has a bandwidth.

    Attributes
    ----------
    names : the regions
    latency : seconds one way from region i (row) to region j (column); the diagonal is within a region
    beta : seconds per byte of the pipe from i to j; 0.0 has no pipe to share
    """

    names: tuple[str, ...]
    latency: tuple[tuple[float, ...], ...]
    beta: tuple[tuple[float, ...], ...]
    kind: ClassVar[str] = "regions"

    def lay_out(self, names: Sequence[str], groups: Sequence[str | None], cards: Sequence[float] = ()) -> Fabric:
        count, hosts = len(self.names), len(names)
        blocks = [index * count // hosts if hosts > count else index for index in range(hosts)]
        regions = [self.names.index(group) if group else block for group, block in zip(groups, blocks, strict=True)]
        pipes = [(a, b) for a, b in itertools.permutations(range(count), 2) if self.beta[a][b]]
        links = [(f"{self.names[a]} > {self.names[b]}", self.beta[a][b]) for a, b in pipes]
        link_of = {pipe: (number,) for number, pipe in enumerate(pipes)}

        def route(source: int, destination: int) -> Route:
            a, b = regions[source], regions[destination]
            return Route(self.latency[a][b], link_of.get((a, b), ()))

        return Fabric(links, route, [self.names[region] for region in regions])


def _squarest(count: int) -> tuple[int, int]:
    """Factor a count into its two most nearly equal factors."""
    side = next(d for d in range(math.isqrt(count), 0, -1) if count % d == 0)
    return count // side, side


def _coordinates(place: int, shape: Sequence[int]) -> list[int]:
    """The coordinates of a position; the last dimension varies fastest."""
    found = []
    for size in reversed(shape):
        place, rest = divmod(place, size)
        found.append(rest)
    return found[::-1]


def _place(coordinates: Sequence[int], shape: Sequence[int]) -> int:
    """The position with given coordinates: the inverse of `_coordinates`."""
    place = 0
    for coordinate, size in zip(coordinates, shape, strict=True):
        place = place * size + coordinate
    return place
