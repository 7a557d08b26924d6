"""The fields of a network file: one pydantic model per section, which parses units and checks ranges.

Only the rank that reads a file imports this module (pydantic takes 0.1 s). Every field's description is also its
documentation: `docs/networks.md` lists them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from emulator.errors import UsageError, read_text
from emulator.network import jitter as jitters
from emulator.network.fields import Beta, Bytes, Count, Factor, Seconds, Section, Share
from emulator.network.topology_sections import FlatSection, TopologySection
from emulator.units import parse_time


class SegmentSection(Section):
    """Terms of messages above a size, in place of the link's."""

    above: Bytes = Field(description="bytes; messages that are longer have these terms")
    latency: Seconds = Field(description="one way, in the place of link.latency")
    bandwidth: Beta = Field(description="most that such a message gets; at most link.bandwidth")


class LinkSection(Section):
    """The link between any two hosts."""

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
    """The path between two ranks on one host."""

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
    """One host, or `count` equal ones; defaults come from [nic] and [hosts]."""

    name: str | None = Field(default=None, description="what reports call it")
    count: Count = Field(default=1, description="that many equal hosts")
    slowdown: Factor | None = Field(default=None, description="computes this many times slower than this machine")
    rack: str | None = Field(default=None, description="topology racks: the rack that it stands in")
    region: str | None = Field(default=None, description="topology regions: the region that it stands in")


class Variation(Section):
    """What varies from message to message, and where."""

    on: Literal["every path", "shared links"] = Field(
        default="every path", description='"every path" between hosts, or only across "shared links"'
    )


class Distribution(Variation):
    """A distribution of the latency that is added to a message."""

    distribution: str
    makes: ClassVar[type[Any]]  # of a distribution's own fields, in their order

    def jitter(self, folder: Path | None) -> jitters.Jitter:
        """The jitter of this section; a file that it names is looked for in `folder`."""
        return self.makes(*self.model_dump(exclude={"on", "distribution"}).values())


class ConstantSection(Distribution):
    """The same jitter for every message."""

    makes = jitters.Constant
    distribution: Literal["constant"]
    value: Seconds = Field(description="added to every message")


class UniformSection(Distribution):
    """Jitter that is equally likely between two ends."""

    distribution: Literal["uniform"]
    low: Seconds = Field(default=0.0, description="least")
    high: Seconds = Field(description="most; not below low")

    def jitter(self, folder: Path | None) -> jitters.Jitter:
        if self.high < self.low:
            raise UsageError(f"jitter.high must not be below jitter.low, got {self.high} and {self.low} s")
        return jitters.Uniform(self.low, self.high)


class NormalSection(Distribution):
    """Normal jitter, cut off at zero."""

    makes = jitters.Normal
    distribution: Literal["normal"]
    mean: Seconds = Field(default=0.0, description="before it is cut off at zero")
    deviation: Seconds = Field(description="standard deviation, before it is cut off at zero")


class ExponentialSection(Distribution):
    """Exponential jitter."""

    makes = jitters.Exponential
    distribution: Literal["exponential"]
    mean: Seconds = Field(description="mean")


class ParetoSection(Distribution):
    """Pareto jitter from zero on: a heavy tail."""

    makes = jitters.Pareto
    distribution: Literal["pareto"]
    scale: Seconds = Field(description="the mean is scale / (shape - 1)")
    shape: Factor = Field(default=3.0, description="smaller is heavier; no mean at 1 or below")


class EmpiricalSection(Distribution):
    """Jitter from measured values, drawn with interpolation."""

    distribution: Literal["empirical"]
    values: tuple[Seconds, ...] = Field(default=(), description="measured values, in any order")
    file: str | None = Field(
        default=None, description="instead of values: a text file, one value with its unit per line"
    )

    def jitter(self, folder: Path | None) -> jitters.Jitter:
        values = self.values
        if self.file is not None:
            lines = read_text((folder or Path()) / self.file, f"jitter.file: {self.file!r}").split("\n")
            values = (*values, *(parse_time(line) for line in map(str.strip, lines) if line))
        if not values:
            raise UsageError(
                'jitter.values: at least one measured value is needed: write e.g. values = ["1 us", "9 us"]'
            )
        return jitters.Empirical(tuple(sorted(values)))


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
    """The MPI library's protocol for messages between hosts."""

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
