"""The section [topology] of a network file: the fields of each kind of topology, and the topology that they define."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from emulator.errors import UsageError
from emulator.network.fields import Beta, Count, Factor, Seconds, Section
from emulator.network.graph import Edge, Graph
from emulator.network.topology import FatTree, Flat, Racks, Regions, Topology, Torus


class WiringSection(Section):
    """How hosts are wired.

    Attributes
    ----------
    named_by : field of a host that names its group; empty where there are no groups
    explicit : the file lists every link, each with its bandwidth
    """

    kind: str
    named_by: ClassVar[str] = ""
    explicit: ClassVar[bool] = False

    def topology(self, card: Callable[[], float]) -> Topology:
        """The topology of this section; `card` gives the default seconds per byte of its links."""
        raise NotImplementedError


class FlatSection(WiringSection):
    """One ideal switch."""

    kind: Literal["flat"] = Field(description="one ideal switch")

    def topology(self, card: Callable[[], float]) -> Topology:
        return Flat()


class RacksSection(WiringSection):
    """Racks that share an uplink and a downlink each."""

    kind: Literal["racks"] = Field(description="racks of hosts under one core")
    hosts_per_rack: Count = Field(default=4, description="consecutive hosts in a rack")
    uplink: Beta | None = Field(default=None, description="bandwidth of a rack's uplink and of its downlink")
    oversubscription: Factor | None = Field(
        default=None, description="instead of uplink: the rack's cards together over its uplink"
    )
    uplink_latency: Seconds = Field(default=0.0, description="added on the way to another rack")
    named_by: ClassVar[str] = "rack"

    def topology(self, card: Callable[[], float]) -> Topology:
        if (self.uplink is None) == (self.oversubscription is None):
            raise UsageError(
                "topology.uplink: racks need either uplink (a bandwidth) or oversubscription (a factor), not "
                f"{'both' if self.uplink else 'none'}: write e.g. oversubscription = 4"
            )
        return Racks(self.hosts_per_rack, self.uplink or 0.0, self.uplink_latency, self.oversubscription or 0.0)


class FatTreeSection(WiringSection):
    """A three-level fat tree."""

    kind: Literal["fat-tree"] = Field(description="a three-level fat tree with full bisection")
    radix: Annotated[int, Field(ge=2, multiple_of=2, strict=True)] | None = Field(
        default=None, description="ports of a switch, even; default: the fewest that have room"
    )
    bandwidth: Beta | None = Field(default=None, description="of a link between switches; default: the card's")
    hop_latency: Seconds = Field(default=0.0, description="added for each link between switches")

    def topology(self, card: Callable[[], float]) -> Topology:
        return FatTree(self.radix or 0, self.bandwidth or card(), self.hop_latency)


class TorusSection(WiringSection):
    """A grid of hosts that wraps around."""

    kind: Literal["torus"] = Field(description="a grid of hosts that wraps around")
    dimensions: tuple[Count, ...] = Field(default=(), description="hosts in each direction; default: squarest grid")
    bandwidth: Beta | None = Field(default=None, description="of a link between neighbours; default: the card's")
    hop_latency: Seconds = Field(default=0.0, description="added for each hop after the first")

    def topology(self, card: Callable[[], float]) -> Topology:
        return Torus(self.dimensions, self.bandwidth or card(), self.hop_latency)


class RegionsSection(WiringSection):
    """Regions with a matrix of latencies."""

    kind: Literal["regions"] = Field(description="regions with a matrix of latencies")
    names: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="the regions, in the matrix's order")
    latency: tuple[tuple[Seconds, ...], ...] = Field(description="one way, from row to column; added to link.latency")
    bandwidth: Beta | tuple[tuple[Beta | Literal["-"], ...], ...] | None = Field(
        default=None, description='of the pipe that two regions share, one for all or a matrix with "-" for none'
    )
    named_by: ClassVar[str] = "region"

    def topology(self, card: Callable[[], float]) -> Topology:
        count = len(self.names)
        if len(set(self.names)) < count:
            raise UsageError(f"topology.names: the regions {', '.join(self.names)} must differ")
        _check_square("latency", self.latency, count)
        if isinstance(self.bandwidth, tuple):
            _check_square("bandwidth", self.bandwidth, count)
            beta = tuple(tuple(0.0 if cell == "-" else float(cell) for cell in row) for row in self.bandwidth)
        else:
            beta = ((self.bandwidth or 0.0,) * count,) * count
        return Regions(self.names, self.latency, beta)


def _check_square(field: str, matrix: tuple[tuple[object, ...], ...], count: int) -> None:
    lengths = [len(row) for row in matrix]
    if lengths != [count] * count:
        raise UsageError(
            f"topology.{field}: {count} regions need {count} rows of {count} values, got rows of {lengths}"
        )


class EdgeSection(Section):
    """One link of an explicit topology."""

    between: tuple[str, str] = Field(description="two hosts or switches")
    latency: Seconds = Field(default=0.0, description="one way")
    bandwidth: Beta = Field(description="in each direction, shared by all who cross it")
    one_way: bool = Field(default=False, description="from the first to the second only")


class LinksSection(WiringSection):
    """Explicit links; routes have the least latency."""

    kind: Literal["links"] = Field(description="an explicit list of links")
    links: Annotated[tuple[EdgeSection, ...], Field(min_length=1)] = Field(description="the links")
    explicit: ClassVar[bool] = True

    def topology(self, card: Callable[[], float]) -> Topology:
        edges = []
        for link in self.links:
            one, other = link.between
            if one == other:
                raise UsageError(f"topology.links.between: a link joins two different nodes, got {one!r} twice")
            edges.append(Edge(one, other, link.latency, link.bandwidth))
            if not link.one_way:
                edges.append(Edge(other, one, link.latency, link.bandwidth))
        return Graph(tuple(edges))


TopologySection = Annotated[
    FlatSection | RacksSection | FatTreeSection | TorusSection | RegionsSection | LinksSection,
    Field(discriminator="kind"),
]
