"""The network that the emulator uses: hosts, the links that they share, and the path between every two hosts.

Data only: no MPI, no parsing, no imports beyond the standard library, because every rank loads this module. Times
are in seconds, sizes in bytes, and every beta is in seconds per byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from emulator.network.draws import key as message_key
from emulator.network.topology import Flat, Topology

if TYPE_CHECKING:  # a network that has none of them is loaded without their classes, by every rank
    from emulator.network.jitter import Jitter
    from emulator.network.loss import Loss
    from emulator.network.protocol import Protocol, Segment, SlowStart


@dataclass(frozen=True, slots=True)
class Nic:
    """A host's network card, shared by all ranks on the host; sending and receiving are independent (full duplex).

    Attributes
    ----------
    egress_beta, ingress_beta : seconds per byte out of and into the host
    gap : least time in seconds between the starts of two messages out of the host
    latency : seconds that the card adds at its end of every path
    """

    egress_beta: float
    ingress_beta: float
    gap: float = 0.0
    latency: float = 0.0


@dataclass(frozen=True, slots=True)
class Link:
    """A resource that several paths share, in one direction; all of their messages queue at it."""

    name: str
    beta: float


@dataclass(frozen=True, slots=True)
class Path:
    """Latency, bandwidth and shared links between two hosts.

    Attributes
    ----------
    alpha : one-way latency in seconds, everything included but jitter and loss
    beta : seconds per byte of the narrowest part of the path, both cards included
    links : indices into `Network.links` of the shared links, in the order in which a message crosses them
    jitter, loss : what differs from message to message; None on a steady path
    """

    alpha: float
    beta: float
    links: tuple[int, ...] = ()
    jitter: Jitter | None = None
    loss: Loss | None = None

    def delay(self, stream: int, sequence: int, size: int) -> float:
        """Seconds that jitter and repaired losses add to message number `sequence` of a stream (`draws.stream`)."""
        total = 0.0
        if self.jitter is not None:
            total = self.jitter.draw(message_key(stream, sequence))
        if self.loss is not None:
            total += self.loss.delay(stream, sequence, size)
        return total


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the emulated cluster.

    Attributes
    ----------
    name : what reports call it
    nic : its network card
    slowdown : its ranks compute this many times slower than this machine does
    loopback : the path between two ranks on the host
    group : the rack or the region that it stands in; None where the topology has none
    """

    name: str
    nic: Nic
    slowdown: float
    loopback: Path
    group: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """The content of a network file in numbers, before the number of hosts is known.

    Attributes
    ----------
    hosts : the listed hosts, or one host to make copies of
    listed : the file names its hosts, so that their number is fixed
    ranks_per_host : consecutive ranks that share a host; 0 spreads them as evenly as they go
    placement : "block" (ranks 0, 1, ... fill the first host first) or "cyclic" (rank r runs on host r mod hosts)
    alpha, beta : the link between each two hosts
    jitter, loss : what varies from message to message between hosts; None where nothing does
    jitter_everywhere, loss_everywhere : on every path between hosts, not only on those that cross a shared link
    source : where the figures come from
    protocol : eager limit and overheads; None where messages have neither
    segments : terms of longer messages, in rising order of size; slow_start : None where connections have no window
    sharing : how messages that meet at a card or a shared link are served: "message", whole, one after another, or
        "packet", all at once
    """

    name: str
    description: str
    hosts: tuple[Host, ...]
    listed: bool
    ranks_per_host: int
    placement: str
    alpha: float
    beta: float
    topology: Topology = field(default_factory=Flat)
    jitter: Jitter | None = None
    loss: Loss | None = None
    jitter_everywhere: bool = True
    loss_everywhere: bool = True
    source: str = ""
    sharing: str = "message"
    protocol: Protocol | None = None
    segments: tuple[Segment, ...] = ()
    slow_start: SlowStart | None = None

    @property
    def linear(self) -> bool:
        """Whether a message alone takes alpha + n beta, whatever its size and whatever was sent before."""
        return self.protocol is None and not self.segments and self.slow_start is None


class Network:
    """A spec laid out on some number of hosts.

    Attributes
    ----------
    name, description : from the spec
    hosts : the machines
    links : the links that hosts share; `Path.links` points into it
    spec : what this network was laid out from
    joined : the hosts of ranks that have been started later, numbered from `ranks` on
    """

    def __init__(self, spec: NetworkSpec, ranks: int = 2) -> None:
        self.spec = spec
        self.name = spec.name
        self.description = spec.description
        self.ranks = ranks
        self.hosts: tuple[Host, ...] = _hosts(spec, ranks)
        names = [host.name for host in self.hosts]
        cards = [max(host.nic.egress_beta, spec.beta) for host in self.hosts]
        self._fabric = spec.topology.lay_out(names, [host.group for host in self.hosts], cards)
        self.links: tuple[Link, ...] = tuple(Link(name, beta) for name, beta in self._fabric.links)
        self._paths: dict[tuple[int, int], Path] = {}
        self.joined: list[int] = []

    def __getstate__(self) -> tuple[NetworkSpec, int]:
        # A network travels to other ranks as its spec: small, and cheap to lay out again.
        return self.spec, self.ranks

    def __setstate__(self, state: tuple[NetworkSpec, int]) -> None:
        Network.__init__(self, *state)

    def __repr__(self) -> str:
        return f"<Network {self.name}: {len(self.hosts)} hosts, {len(self.links)} shared links>"

    def sized(self, ranks: int) -> Network:
        """Lay the same spec out for `ranks` ranks; a list of hosts keeps its length."""
        return Network(self.spec, ranks)

    def host_of(self, rank: int) -> int:
        """The index of the host on which a rank runs."""
        if rank >= self.ranks and self.joined:
            return self.joined[rank - self.ranks]
        count, per_host = len(self.hosts), self.spec.ranks_per_host
        if self.spec.placement == "cyclic":
            return rank % count
        if per_host:
            return rank // per_host % count
        return (rank * count // self.ranks if self.ranks > count else rank) % count

    def group_of(self, rank: int) -> str | None:
        """The rack or region of a rank's host; None where the topology has none."""
        return self._fabric.groups[self.host_of(rank)]

    def path(self, source: int, destination: int) -> Path:
        """The path from one host to another (indices into `hosts`); a host reaches itself over its loopback."""
        found = self._paths.get((source, destination))
        if found is None:
            found = self._paths[source, destination] = self._lay_path(source, destination)
        return found

    def between(self, source: int, destination: int) -> Path:
        """The path from one rank to another."""
        return self.path(self.host_of(source), self.host_of(destination))

    def _lay_path(self, source: int, destination: int) -> Path:
        if source == destination:
            return self.hosts[source].loopback
        spec = self.spec
        sender, receiver = self.hosts[source].nic, self.hosts[destination].nic
        route = self._fabric.route(source, destination)
        beta = max([spec.beta, sender.egress_beta, receiver.ingress_beta, *(self.links[i].beta for i in route.links)])
        shared = bool(route.links)
        return Path(
            alpha=spec.alpha + sender.latency + route.alpha + receiver.latency,
            beta=beta,
            links=route.links,
            jitter=spec.jitter if shared or spec.jitter_everywhere else None,
            loss=spec.loss if shared or spec.loss_everywhere else None,
        )

    def smallest_latency(self) -> float:
        """The least one-way latency (s) between ranks on different hosts; 0.0 on a single host."""
        return min((path.alpha for path in self.paths_between(range(self.ranks))), default=0.0)

    def slowest_path(self, ranks: Iterable[int]) -> tuple[float, float]:
        """Longest latency (s) and largest beta (s/B) of the paths between some ranks; on one host its loopback."""
        ranks = list(ranks)
        paths = self.paths_between(ranks) or [self.hosts[self.host_of(ranks[0])].loopback]
        return max(path.alpha for path in paths), max(path.beta for path in paths)

    def paths_between(self, ranks: Iterable[int]) -> list[Path]:
        """List the different kinds of paths between the hosts of some ranks, not every pair where many are alike."""
        used = sorted({self.host_of(rank) for rank in ranks})
        if self.spec.topology.by_group:
            alike: dict[tuple[Nic, str | None], list[int]] = {}
            for host in used:
                alike.setdefault((self.hosts[host].nic, self._fabric.groups[host]), []).append(host)
            used = sorted(host for hosts in alike.values() for host in hosts[:2])
        cards = {self.hosts[host].nic for host in used}
        starts = self.spec.topology.starts(used) if len(cards) == 1 else used
        return [self.path(a, b) for a in starts for b in used if a != b]

    def describe(self) -> dict[str, Any]:
        """The configuration in the form of the result file."""
        paths = self.paths_between(range(self.ranks)) or [self.hosts[0].loopback]
        spec = self.spec
        ranks: list[list[int]] = [[] for _ in self.hosts]
        for rank in range(self.ranks):
            ranks[self.host_of(rank)].append(rank)
        return {
            "name": self.name,
            "description": self.description,
            "topology": spec.topology.kind,
            "placement": spec.placement,
            "sharing": spec.sharing,
            "segments": [asdict(segment) for segment in spec.segments],
            "slow_start": None if spec.slow_start is None else asdict(spec.slow_start),
            "protocol": None if spec.protocol is None else asdict(spec.protocol),
            "alpha": _span([path.alpha for path in paths]),
            "beta": _span([path.beta for path in paths]),
            "hosts": [self._describe_host(index, ranks[index]) for index in range(len(self.hosts))],
            "links": [{"name": link.name, "beta": link.beta} for link in self.links],
            "jitter": _describe_variation(spec.jitter, spec.jitter_everywhere),
            "loss": _describe_variation(spec.loss, spec.loss_everywhere),
            "source": spec.source,
        }

    def _describe_host(self, index: int, ranks: list[int]) -> dict[str, Any]:
        host = self.hosts[index]
        return {
            "name": host.name,
            "group": self._fabric.groups[index],
            "ranks": ranks,
            "slowdown": host.slowdown,
            "nic": asdict(host.nic),
            "loopback": {"alpha": host.loopback.alpha, "beta": host.loopback.beta},
        }


def _describe_variation(what: Jitter | Loss | None, everywhere: bool) -> dict[str, Any] | None:
    if what is None:
        return None
    where = "every path" if everywhere else "shared links"
    return {"kind": type(what).__name__.lower(), "on": where, **asdict(what)}


def _span(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "max": max(values)}


def _hosts(spec: NetworkSpec, ranks: int) -> tuple[Host, ...]:
    """Make the hosts of a spec: the listed ones, or as many copies of its pattern as the ranks need."""
    if spec.listed:
        return spec.hosts
    needed = max(1, -(-ranks // max(1, spec.ranks_per_host)))
    made = []
    for index in range(needed):
        pattern = spec.hosts[index % len(spec.hosts)]
        made.append(replace(pattern, name=f"{pattern.name}{index}"))
    return tuple(made)
