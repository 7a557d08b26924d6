"""The fields of a network file: one pydantic model per section, which parses units and checks ranges.

Only the rank that reads a file imports this module (pydantic takes 0.1 s). Every field's description is also its
documentation: `docs/networks.md` lists them.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from emulator.errors import UsageError
from emulator.units import parse_fraction, parse_rate, parse_size, parse_time


def _beta(value: Any) -> float:
    return 1 / parse_rate(value)


def _share_below_one(text: str | float) -> float:
    share = parse_fraction(text)
    if share == 1:
        raise UsageError(f"must lie from 0 % to below 100 %, got {text!r}: write e.g. '1.5 %'")
    return share


def _bytes(text: str | int) -> int:
    size = parse_size(str(text))
    if size < 1:
        raise UsageError(f"must be at least 1 byte, got {text!r}: write e.g. '1460'")
    return size


Seconds = Annotated[float, BeforeValidator(parse_time)]
Beta = Annotated[float, BeforeValidator(_beta)]
Share = Annotated[float, BeforeValidator(_share_below_one)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, strict=True)]
Where = Literal["every path", "shared links"]


class Section(BaseModel):
    """A table of a network file or of a design sheet: unknown fields are refused with a suggestion."""

    # One validator is built, of the whole file: one per table would take a tenth of a second.
    model_config = ConfigDict(frozen=True, defer_build=True)
    holds: ClassVar[str] = "field"

    @model_validator(mode="before")
    @classmethod
    def _know_every_field(cls, values: Any) -> Any:
        legal = [field.alias or name for name, field in cls.model_fields.items()]
        for name in values if isinstance(values, dict) else ():
            if name not in legal:
                near = difflib.get_close_matches(name, legal, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "remove it."
                raise UsageError(f"there is no {cls.holds} {name!r} here: {hint} Legal: {', '.join(legal)}")
        return values


class SegmentSection(Section):
    """Terms of messages above a size, in the place of the link's."""

    above: Bytes = Field(description="bytes; messages that are longer have these terms")
    latency: Seconds = Field(description="one way, in the place of link.latency")
    bandwidth: Beta = Field(description="most that such a message gets; at most link.bandwidth")


class LinkSection(Section):
    """The way between each two hosts."""

    latency: Seconds = Field(default=0.0, description="one way, between each two hosts")
    bandwidth: Beta | None = Field(default=None, description="most that one message stream gets")
    segment: tuple[SegmentSection, ...] = Field(
        default=(), description="other terms of longer messages, one [[link.segment]] table each"
    )


class NicSection(Section):
    """Every host's network card, shared by all its ranks."""

    bandwidth: Beta | None = Field(default=None, description="both ways; default: the link's bandwidth")
    egress: Beta | None = Field(default=None, description="out of the host; default: bandwidth")
    ingress: Beta | None = Field(default=None, description="into the host; default: bandwidth")
    gap: Seconds | None = Field(default=None, description="least time between two messages out of the host")
    latency: Seconds | None = Field(default=None, description="added at this end of every path")


class LoopbackSection(Section):
    """Between two ranks on one host."""

    latency: Seconds = Field(default=5e-7, description="one way")
    bandwidth: Beta = Field(default=1e-10, description="one way")


class HostsSection(Section):
    """How many hosts there are and which ranks they get."""

    count: Count | None = Field(default=None, description="number of equal hosts; default: as many as the ranks need")
    names: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None, description="names of equal hosts, instead of a count"
    )
    ranks_per_host: Count | None = Field(default=None, description="ranks that share a host and its card")
    placement: Literal["block", "cyclic"] = Field(
        default="block", description="block: neighbouring ranks on one host; cyclic: rank r on host r mod hosts"
    )
    slowdown: Factor = Field(default=1.0, description="hosts compute this many times slower than this machine")
    repeat: bool = Field(default=False, description="the listed [[host]] entries repeat until all ranks fit")


class HostSection(NicSection):
    """One host, or `count` equal ones; what is left out is as in [nic] and [hosts]."""

    name: str | None = Field(default=None, description="what reports call it")
    count: Count = Field(default=1, description="that many equal hosts")
    slowdown: Factor | None = Field(default=None, description="computes this many times slower than this machine")
    rack: str | None = Field(default=None, description="topology racks: the rack that it stands in")
    region: str | None = Field(default=None, description="topology regions: the region that it stands in")


class FlatSection(Section):
    """One ideal switch."""

    kind: Literal["flat"] = Field(description="one ideal switch")


class RacksSection(Section):
    """Racks that share an uplink and a downlink each."""

    kind: Literal["racks"] = Field(description="racks of hosts under one core")
    hosts_per_rack: Count = Field(default=4, description="consecutive hosts in a rack")
    uplink: Beta | None = Field(default=None, description="bandwidth of a rack's uplink and of its downlink")
    oversubscription: Factor | None = Field(
        default=None, description="instead of uplink: the rack's cards together over its uplink"
    )
    uplink_latency: Seconds = Field(default=0.0, description="added on the way to another rack")


class FatTreeSection(Section):
    """A three-level fat tree."""

    kind: Literal["fat-tree"] = Field(description="a three-level fat tree with full bisection")
    radix: Annotated[int, Field(ge=2, multiple_of=2, strict=True)] | None = Field(
        default=None, description="ports of a switch, even; default: the fewest that have room"
    )
    bandwidth: Beta | None = Field(default=None, description="of a link between switches; default: the card's")
    hop_latency: Seconds = Field(default=0.0, description="added for each link between switches")


class TorusSection(Section):
    """A grid of hosts that wraps around."""

    kind: Literal["torus"] = Field(description="a grid of hosts that wraps around")
    dimensions: tuple[Count, ...] = Field(default=(), description="hosts in each direction; default: squarest grid")
    bandwidth: Beta | None = Field(default=None, description="of a link between neighbours; default: the card's")
    hop_latency: Seconds = Field(default=0.0, description="added for each hop after the first")


class RegionsSection(Section):
    """Regions with a matrix of latencies."""

    kind: Literal["regions"] = Field(description="regions with a matrix of latencies")
    names: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="the regions, in the matrix's order")
    latency: tuple[tuple[Seconds, ...], ...] = Field(description="one way, from row to column; added to link.latency")
    bandwidth: Beta | tuple[tuple[Beta | Literal["-"], ...], ...] | None = Field(
        default=None, description='of the pipe that two regions share, one for all or a matrix with "-" for none'
    )


class EdgeSection(Section):
    """One link of an explicit topology."""

    between: tuple[str, str] = Field(description="two hosts or switches")
    latency: Seconds = Field(default=0.0, description="one way")
    bandwidth: Beta = Field(description="in each direction, shared by all who cross it")
    one_way: bool = Field(default=False, description="from the first to the second only")


class LinksSection(Section):
    """Explicit links; the way of least latency is taken."""

    kind: Literal["links"] = Field(description="an explicit list of links")
    links: Annotated[tuple[EdgeSection, ...], Field(min_length=1)] = Field(description="the links")


TopologySection = Annotated[
    FlatSection | RacksSection | FatTreeSection | TorusSection | RegionsSection | LinksSection,
    Field(discriminator="kind"),
]


class Variation(Section):
    """What differs from message to message, and where."""

    on: Where = Field(default="every path", description='"every path" between hosts, or only across "shared links"')


class ConstantSection(Variation):
    """The same for every message."""

    distribution: Literal["constant"]
    value: Seconds = Field(description="added to every message")


class UniformSection(Variation):
    """Equally likely between two ends."""

    distribution: Literal["uniform"]
    low: Seconds = Field(default=0.0, description="least")
    high: Seconds = Field(description="most; not below low")


class NormalSection(Variation):
    """Normal, cut off at zero."""

    distribution: Literal["normal"]
    mean: Seconds = Field(default=0.0, description="before it is cut off at zero")
    deviation: Seconds = Field(description="standard deviation, before it is cut off at zero")


class ExponentialSection(Variation):
    """Exponential."""

    distribution: Literal["exponential"]
    mean: Seconds = Field(description="mean")


class ParetoSection(Variation):
    """Pareto with its origin at zero: a heavy tail."""

    distribution: Literal["pareto"]
    scale: Seconds = Field(description="the mean is scale / (shape - 1)")
    shape: Factor = Field(default=3.0, description="smaller is heavier; no mean at 1 or below")


class EmpiricalSection(Variation):
    """Measured values, drawn with interpolation."""

    distribution: Literal["empirical"]
    values: tuple[Seconds, ...] = Field(default=(), description="measured values, in any order")
    file: str | None = Field(
        default=None, description="instead of values: a text file, one value with its unit per line"
    )


JitterSection = Annotated[
    ConstantSection | UniformSection | NormalSection | ExponentialSection | ParetoSection | EmpiricalSection,
    Field(discriminator="distribution"),
]


class LossSection(Variation):
    """Packet loss, charged as retransmission timeouts."""

    rate: Share = Field(description="share of packets lost, below 100 %")
    correlation: Share = Field(default=0.0, description="probability that a packet shares its predecessor's fate")
    rto: Seconds = Field(default=0.2, description="first retransmission timeout")
    backoff: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        default=2.0, description="each further timeout of a packet is that many times longer"
    )
    mtu: Bytes = Field(default=1460, description="bytes of a message in one packet")


class ProtocolSection(Section):
    """What the MPI library does with a message between hosts."""

    preset: Literal["openmpi-tcp", "openmpi-sm", "infiniband"] | None = Field(
        default=None, description="what the other fields are by default"
    )
    eager_limit: Bytes | None = Field(
        default=None, description="bytes of the longest message that does not wait for its receive"
    )
    send_overhead: Seconds | None = Field(default=None, description="for which a message keeps its sender busy")
    receive_overhead: Seconds | None = Field(default=None, description="for which a message keeps its receiver busy")
    send_byte: Seconds | None = Field(default=None, description="the same for each byte, at the sender")
    receive_byte: Seconds | None = Field(default=None, description="the same for each byte, at the receiver")


class SlowStartSection(Section):
    """A connection's window of bytes, which doubles with each round trip (TCP)."""

    window: Bytes = Field(default=14_480, description="bytes that are sent before the first acknowledgement")
    idle: Seconds = Field(default=1.0, description="without a message after which a connection begins anew")


class NetworkFile(Section):
    """A whole network file."""

    name: str | None = Field(default=None, description="default: the file's name")
    description: str = Field(default="", description="one line for lists")
    source: str = Field(default="", description="where the figures come from")
    sharing: Literal["message", "packet"] | None = Field(
        default=None,
        description='messages that meet at a card or a shared link: "message", whole, one after another, or "packet", '
        "packet by packet; default: packet with the preset openmpi-tcp of [protocol], else message",
    )
    slow_start: SlowStartSection | None = Field(default=None, description="windows that begin small")
    protocol: ProtocolSection | None = Field(default=None, description="eager limit and overheads")
    link: LinkSection = Field(default=LinkSection(), description="the way between each two hosts")
    nic: NicSection = Field(default=NicSection(), description="every host's network card")
    loopback: LoopbackSection = Field(default=LoopbackSection(), description="between ranks on one host")
    hosts: HostsSection = Field(default=HostsSection(), description="how many hosts, and which ranks they get")
    host: tuple[HostSection, ...] = Field(default=(), description="hosts that differ, one [[host]] table each")
    topology: TopologySection = Field(default=FlatSection(kind="flat"), description="how the hosts are wired")
    jitter: JitterSection | None = Field(default=None, description="latency that differs from message to message")
    loss: LossSection | None = Field(default=None, description="packets that have to be sent again")
