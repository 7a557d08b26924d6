"""Turn a validated network file into a `NetworkSpec`: fill in defaults and check sections against one another."""

from __future__ import annotations

import itertools
from pathlib import Path as FilePath

from emulator.errors import UsageError
from emulator.network import protocol as protocols
from emulator.network import schema
from emulator.network.loss import Loss
from emulator.network.model import Host, Network, NetworkSpec, Nic, Path
from emulator.network.protocol import Segment, SlowStart
from emulator.network.topology_sections import RegionsSection


def plan(file: schema.NetworkFile, name: str, folder: FilePath | None = None) -> NetworkSpec:
    """Turn a checked file into a plan; `folder` is where files that it mentions are looked for."""
    explicit = file.topology.explicit
    hosts = _hosts(file)
    unlimited = any(0.0 in (host.nic.egress_beta, host.nic.ingress_beta) for host in hosts)
    if file.link.bandwidth is None and unlimited and not explicit:
        raise UsageError('link.bandwidth is missing: give it, or nic.bandwidth, e.g. bandwidth = "10 Gbit/s"')
    made = NetworkSpec(
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
        topology=file.topology.topology(lambda: _common_card(file, hosts)),
        jitter=None if file.jitter is None else file.jitter.jitter(folder),
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
    for field, legal in (("rack", "racks"), ("region", "regions")):
        if (given := getattr(entry, field)) is not None and field != file.topology.named_by:
            raise UsageError(f"host.{field}: {given!r} needs topology.kind {legal!r}, got {file.topology.kind!r}")
    if isinstance(file.topology, RegionsSection) and entry.region not in (None, *file.topology.names):
        raise UsageError(f"host.region: {entry.region!r} is not a region: legal are {', '.join(file.topology.names)}")
    return Host(
        name=name,
        nic=nic,
        slowdown=_first(entry.slowdown, file.hosts.slowdown),
        loopback=Path(file.loopback.latency, file.loopback.bandwidth),
        group=entry.rack or entry.region,
    )


def _first(*values: float | None) -> float:
    """The first argument that is not None."""
    return next(value for value in values if value is not None)


def _common_card(file: schema.NetworkFile, hosts: tuple[Host, ...]) -> float:
    """Seconds per byte of an ordinary host's card, the default of links between switches."""
    common = max(_first(file.nic.egress, file.nic.bandwidth, 0.0), file.link.bandwidth or 0.0)
    cards = {common} if common else {host.nic.egress_beta for host in hosts}
    if len(cards) > 1:
        raise UsageError(
            "topology.bandwidth is missing: the hosts' cards differ, so that links between switches need their own, "
            'e.g. bandwidth = "10 Gbit/s"'
        )
    return cards.pop()
