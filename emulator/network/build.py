"""Turn a validated network file into a `Plan`: fill in defaults and check sections against one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path as FilePath

from emulator.errors import UsageError, read_text
from emulator.network import jitter as jitters
from emulator.network import protocol as protocols
from emulator.network import schema
from emulator.network.graph import Edge, Graph
from emulator.network.loss import Loss
from emulator.network.model import Host, Network, Nic, Path, Plan
from emulator.network.slow_start import Segment, SlowStart
from emulator.network.topology import FatTree, Flat, Racks, Regions, Topology, Torus
from emulator.units import parse_time

# Their parameters are the fields of the section, in this order.
_JITTERS: dict[str, Callable[..., jitters.Jitter]] = {
    "constant": jitters.Constant, "uniform": jitters.Uniform, "normal": jitters.Normal,
    "exponential": jitters.Exponential, "pareto": jitters.Pareto,
}  # fmt: skip


def plan(file: schema.NetworkFile, name: str, folder: FilePath | None = None) -> Plan:
    """Turn a checked file into a plan; `folder` is where files that it mentions are looked for."""
    explicit = isinstance(file.topology, schema.LinksSection)
    hosts = _hosts(file)
    unlimited = any(0.0 in (host.nic.egress_beta, host.nic.ingress_beta) for host in hosts)
    if file.link.bandwidth is None and unlimited and not explicit:
        raise UsageError('link.bandwidth is missing: give it, or nic.bandwidth, e.g. bandwidth = "10 Gbit/s"')
    made = Plan(
        name=file.name or name,
        description=file.description,
        source=file.source,
        sharing=file.sharing
        or ("packet" if file.protocol and file.protocol.preset in protocols.PACKETS else "message"),
        protocol=_protocol(file.protocol),
        segments=_segments(file.link),
        slow_start=None if file.slow_start is None else SlowStart(file.slow_start.window, file.slow_start.idle),
        hosts=hosts,
        listed=_listed(file),
        ranks_per_host=file.hosts.ranks_per_host or (0 if _listed(file) else 1),
        placement=file.hosts.placement,
        alpha=file.link.latency,
        beta=file.link.bandwidth or 0.0,
        topology=_topology(file, hosts),
        jitter=_jitter(file.jitter, folder),
        loss=None if file.loss is None else Loss(**file.loss.model_dump(exclude={"on"})),
        jitter_everywhere=file.jitter is None or file.jitter.on == "every path",
        loss_everywhere=file.loss is None or file.loss.on == "every path",
    )
    if made.listed:
        network = Network(made)
        for source, destination in itertools.permutations(range(len(hosts)), 2):
            network.path(source, destination)  # a pair of hosts without a path is an error now, on one rank
    return made


def _protocol(section: schema.ProtocolSection | None) -> protocols.Protocol | None:
    if section is None:
        return None
    own = section.model_dump(exclude={"preset"}, exclude_none=True)
    if not section.preset and not own:
        raise UsageError('protocol: it says nothing: give eager_limit, an overhead, or preset = "openmpi-tcp"')
    return protocols.Protocol(**{**protocols.PRESETS.get(section.preset or "", {}), **own})


def _segments(link: schema.LinkSection) -> tuple[Segment, ...]:
    found = tuple(Segment(each.above, each.latency, each.bandwidth) for each in link.segment)
    sizes = [each.above for each in found]
    if sizes != sorted(set(sizes)):
        raise UsageError(f"link.segment.above: segments stand in rising order of size, got {sizes}: sort them")
    fastest = min((each.beta for each in found), default=0.0)
    if found and fastest < (link.bandwidth or 0.0):
        raise UsageError(
            f"link.segment.bandwidth: a segment is no quicker than the link, got {1 / fastest:g} B/s and "
            f"{1 / (link.bandwidth or 1.0):g} B/s: give link.bandwidth that of the quickest"
        )
    return found


def _listed(file: schema.NetworkFile) -> bool:
    return bool(file.host or file.hosts.names or file.hosts.count) and not file.hosts.repeat


def _hosts(file: schema.NetworkFile) -> tuple[Host, ...]:
    """List the hosts, or the patterns to repeat; fields left out of a [[host]] come from [nic] and [hosts]."""
    settings = file.hosts
    given = [name for name, value in (("count", settings.count), ("names", settings.names)) if value is not None]
    if len(given) + bool(file.host) > 1:
        both = " and ".join([f"hosts.{name}" for name in given] + ["[[host]]"] * bool(file.host))
        raise UsageError(f"{both} exclude each other: list the hosts in one way")
    if settings.repeat and not file.host:
        raise UsageError("hosts.repeat: there are no [[host]] entries to repeat: add some, or remove it")
    entries = file.host or tuple(schema.HostSection(name=name) for name in settings.names or ())
    entries = entries or (schema.HostSection(count=settings.count or 1),)
    hosts: list[Host] = []
    for entry in entries:
        for copy in range(entry.count):
            name = entry.name or "host"
            numbered = entry.count > 1 or entry.name is None
            number = copy if entry.name else len(hosts)
            pattern = f"{name}{number}" if numbered and _listed(file) else name
            hosts.append(_host(file, entry, pattern))
    names = [host.name for host in hosts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and _listed(file):
        raise UsageError(f"host.name: {twice[0]!r} is given to several hosts: names must differ")
    return tuple(hosts)


def _host(file: schema.NetworkFile, entry: schema.HostSection, name: str) -> Host:
    link, own, common = file.link.bandwidth or 0.0, entry, file.nic
    # The host's own fields come first, each [nic] field after them, and the link's bandwidth last.
    both = own.bandwidth
    nic = Nic(
        egress_beta=_first(own.egress, both, common.egress, common.bandwidth, link),
        ingress_beta=_first(own.ingress, both, common.ingress, common.bandwidth, link),
        gap=_first(own.gap, common.gap, 0.0),
        latency=_first(own.latency, common.latency, 0.0),
    )
    kind = file.topology.kind
    for field, legal in (("rack", "racks"), ("region", "regions")):
        if getattr(entry, field) is not None and kind != legal:
            raise UsageError(f"host.{field}: {getattr(entry, field)!r} needs topology.kind {legal!r}, got {kind!r}")
    if isinstance(file.topology, schema.RegionsSection) and entry.region not in (None, *file.topology.names):
        raise UsageError(f"host.region: {entry.region!r} is not a region: legal are {', '.join(file.topology.names)}")
    return Host(
        name=name,
        nic=nic,
        slowdown=_first(entry.slowdown, file.hosts.slowdown),
        loopback=Path(file.loopback.latency, file.loopback.bandwidth),
        group=entry.rack or entry.region,
    )


def _first(*values: float | None) -> float:
    """Give the first value that was given."""
    return next(value for value in values if value is not None)


def _topology(file: schema.NetworkFile, hosts: tuple[Host, ...]) -> Topology:
    section = file.topology
    match section:
        case schema.RacksSection():
            if (section.uplink is None) == (section.oversubscription is None):
                raise UsageError(
                    "topology.uplink: racks need either uplink (a bandwidth) or oversubscription (a factor), not "
                    f"{'both' if section.uplink else 'none'}: write e.g. oversubscription = 4"
                )
            oversubscription = section.oversubscription or 0.0
            return Racks(section.hosts_per_rack, section.uplink or 0.0, section.uplink_latency, oversubscription)
        case schema.FatTreeSection():
            return FatTree(section.radix or 0, section.bandwidth or _common_card(file, hosts), section.hop_latency)
        case schema.TorusSection():
            return Torus(section.dimensions, section.bandwidth or _common_card(file, hosts), section.hop_latency)
        case schema.RegionsSection():
            return _regions(section)
        case schema.LinksSection():
            return _graph(section)
    return Flat()


def _common_card(file: schema.NetworkFile, hosts: tuple[Host, ...]) -> float:
    """Give the seconds per byte of an ordinary host's card: what links between switches have if nothing is said."""
    common = max(_first(file.nic.egress, file.nic.bandwidth, 0.0), file.link.bandwidth or 0.0)
    cards = {common} if common else {host.nic.egress_beta for host in hosts}
    if len(cards) > 1:
        raise UsageError(
            "topology.bandwidth is missing: the hosts' cards differ, so that links between switches need their own, "
            'e.g. bandwidth = "10 Gbit/s"'
        )
    return cards.pop()


def _regions(section: schema.RegionsSection) -> Regions:
    count = len(section.names)
    if len(set(section.names)) < count:
        raise UsageError(f"topology.names: the regions {', '.join(section.names)} must differ")
    _check_square("latency", section.latency, count)
    if isinstance(section.bandwidth, tuple):
        _check_square("bandwidth", section.bandwidth, count)
        beta = tuple(tuple(0.0 if cell == "-" else float(cell) for cell in row) for row in section.bandwidth)
    else:
        beta = ((section.bandwidth or 0.0,) * count,) * count
    return Regions(section.names, section.latency, beta)


def _check_square(field: str, matrix: tuple[tuple[object, ...], ...], count: int) -> None:
    lengths = [len(row) for row in matrix]
    if lengths != [count] * count:
        raise UsageError(
            f"topology.{field}: {count} regions need {count} rows of {count} values, got rows of {lengths}"
        )


def _graph(section: schema.LinksSection) -> Graph:
    edges = []
    for link in section.links:
        one, other = link.between
        if one == other:
            raise UsageError(f"topology.links.between: a link joins two different nodes, got {one!r} twice")
        edges.append(Edge(one, other, link.latency, link.bandwidth))
        if not link.one_way:
            edges.append(Edge(other, one, link.latency, link.bandwidth))
    return Graph(tuple(edges))


def _jitter(section: schema.JitterSection | None, folder: FilePath | None) -> jitters.Jitter | None:
    if section is None:
        return None
    if isinstance(section, schema.EmpiricalSection):
        return jitters.Empirical(_measured(section, folder))
    if isinstance(section, schema.UniformSection) and section.high < section.low:
        raise UsageError(f"jitter.high must not be below jitter.low, got {section.high} and {section.low} s")
    return _JITTERS[section.distribution](*section.model_dump(exclude={"distribution", "on"}).values())


def _measured(section: schema.EmpiricalSection, folder: FilePath | None) -> tuple[float, ...]:
    """Give the values of an empirical distribution in rising order."""
    values = section.values
    if section.file is not None:
        path = (folder or FilePath()) / section.file
        lines = read_text(path, f"jitter.file: {section.file!r}").split("\n")
        values = (*values, *(parse_time(line) for line in map(str.strip, lines) if line))
    if not values:
        raise UsageError('jitter.values: at least one measured value is needed: write e.g. values = ["1 us", "9 us"]')
    return tuple(sorted(values))
