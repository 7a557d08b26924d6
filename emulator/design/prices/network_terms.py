"""What a sheet's network provides: the formulas' terms, shared links, room for ranks, paths between ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emulator.costs.message_paths import Station, Way, Ways
from emulator.errors import UsageError
from emulator.network.topology import FatTree, Racks, Regions, Torus

if TYPE_CHECKING:
    from emulator.design.sheets.tables import Network as Table
    from emulator.network import Network

_LAID_OUT = (64, 32, 16, 8, 4)  # ranks that are enough to meet racks, regions and slow hosts; fewer where it is small


@dataclass(frozen=True)
class Shared:
    """A card or link through which a group of neighbouring nodes sends.

    Attributes
    ----------
    name : what it is
    beta : seconds per byte
    nodes, share : nodes of the group: so many, or so large a share of all
    dealt : neighbouring nodes are in different groups (cyclic placement)
    """

    name: str
    beta: float
    nodes: int = 1
    share: float = 0.0
    dealt: bool = False

    def members(self, p: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of nodes in the fullest group among p."""
        return np.minimum(p, np.maximum(self.nodes, np.ceil(self.share * p))).astype(np.int64)


def of_table(given: Table) -> dict[str, Any]:
    """Fields of `emulator.design.model.Facts` that a sheet's network decides."""
    if given.latency is not None and given.bandwidth is not None:
        found = {"alpha": given.latency, "beta": given.bandwidth, "origin": "given in the sheet"}
    elif given.from_ is not None:
        return fitted(given.from_)
    else:
        found = {}
    network = load(given) if not found or found["beta"] else None
    if network is None:
        return found | {"gamma": given.gamma}
    if not found:
        seen = _laid_out(network).describe()
        alpha, beta = seen["alpha"], seen["beta"]
        alike = alpha["min"] == alpha["max"] and beta["min"] == beta["max"]
        origin = f"network {network_name(given)}" + ("" if alike else ", its slowest path")
        found = {"alpha": alpha["max"], "beta": beta["max"], "origin": origin, "alike": alike}
    crossed = network.spec.topology.kind if network.links and not isinstance(network.spec.topology, _PRICED) else ""
    found |= {"gamma": given.gamma, "shared": shared(network), "places": places(network), "crossed": crossed,
              "sharing": network.spec.sharing, "protocol": not network.spec.linear,
              "slowdowns": _slowdowns(network)}  # fmt: skip
    return found


def _slowdowns(network: Network) -> tuple[float, ...]:
    """Slowdowns of the ranks of each host in turn."""
    each = max(1, network.spec.ranks_per_host)
    return tuple(host.slowdown for host in _laid_out(network).hosts for _ in range(each))


_PRICED = (Racks, Regions)


def network_name(given: Table) -> str:
    """The preset's or the file's name."""
    return given.preset or given.file or ""


def load(given: Table, alpha: float | None = None, beta: float | None = None) -> Network:
    """Load the network of a sheet, with as many ranks on a host as it says.

    Parameters
    ----------
    alpha, beta : terms that were measured elsewhere, and replace the sheet's
    """
    from emulator.network import files

    if alpha is None or beta is None:
        alpha, beta = given.latency, given.bandwidth
    if alpha is not None and beta is not None:
        found = _flat(alpha, beta)
    else:
        found = files.load(network_name(given))
    if given.ranks_per_host is not None:
        found = type(found)(replace(found.spec, ranks_per_host=given.ranks_per_host), found.ranks)
    return found


def _flat(alpha: float, beta: float) -> Network:
    """A network of equal hosts on one switch.

    Raises
    ------
    UsageError
        The bandwidth is infinite.
    """
    from emulator.network import files

    if not beta:
        raise UsageError("network.bandwidth must be finite for a run: give one such as '10 Gbit/s'")
    return files.parse(files.section("link", alpha, beta), "sheet")


def _laid_out(network: Network) -> Network:
    for ranks in _LAID_OUT:
        with suppress(UsageError):  # a fat tree or a torus has room for so many hosts only
            return network.sized(ranks)
    return network.sized(2)


def places(network: Network) -> float:
    """Number of ranks that a network has room for; infinite if hosts are made as needed."""
    spec, hosts = network.spec, math.inf
    if spec.listed:
        hosts = len(spec.hosts)
    elif isinstance(spec.topology, FatTree) and spec.topology.radix:
        hosts = spec.topology.radix**3 // 4
    elif isinstance(spec.topology, Torus) and spec.topology.dimensions:
        hosts = math.prod(spec.topology.dimensions)
    return hosts * max(1, spec.ranks_per_host)


def shared(network: Network) -> tuple[Shared, ...]:
    """The cards of hosts with several ranks, uplinks of racks and links between regions."""
    laid, spec = _laid_out(network), network.spec
    each, dealt = max(1, spec.ranks_per_host), spec.placement == "cyclic"
    card = max(max(host.nic.egress_beta, host.nic.ingress_beta, spec.beta) for host in laid.hosts)
    found = [Shared("card", card, each, dealt=dealt)] if each > 1 else []
    if isinstance(spec.topology, Racks) and laid.links:
        found.append(Shared("uplink", max(link.beta for link in laid.links), each * spec.topology.hosts_per_rack,
                            dealt=dealt))  # fmt: skip
    if isinstance(spec.topology, Regions) and laid.links:
        found.append(Shared("pipe", max(link.beta for link in laid.links), share=1 / len(spec.topology.names),
                            dealt=dealt))  # fmt: skip
    return tuple(found)


def fitted(run: str) -> dict[str, Any]:
    """alpha, beta and gamma that a run has fitted (of a collective, else of its link), with their draws."""
    from emulator import results

    fits = results.load(run)["fits"]
    if not fits:
        raise UsageError(f"{run}: this run has no fitted terms: take one of demos.ring or demos.links")
    fit = next((one for one in fits if one["level"] == "collective"), fits[0])
    alpha, beta, gamma = (fit[name]["value"] if fit.get(name) else 0.0 for name in ("alpha", "beta", "gamma"))
    draws = np.asarray(fit.get("draws") or np.empty((0, 3)), dtype=float).reshape(-1, 3)
    return {"alpha": alpha, "beta": beta, "gamma": gamma, "draws": draws, "origin": f"measured in {run}"}


def measured(found: Mapping[str, Any], ranks_per_host: int | None) -> dict[str, Any]:
    """Terms measured elsewhere between two hosts, for `ranks_per_host` nodes that share a card."""
    kept = {name: found[name] for name in ("alpha", "beta", "gamma", "origin", "draws") if name in found}
    if ranks_per_host and ranks_per_host > 1:
        kept["shared"] = (Shared("card", kept["beta"], ranks_per_host),)
    return kept


def ways_of(network: Network) -> Ways:
    """The paths between the ranks of a network, as the emulated network routes their messages.

    Ranks of a host pass its card together; each copies its own memory where they talk to one another.
    """
    hosts_of_ranks = [network.host_of(rank) for rank in range(network.ranks)]
    crowded = len(set(hosts_of_ranks)) < network.ranks

    def make(source: int, target: int) -> Way:
        here, there = network.host_of(source), network.host_of(target)
        path = network.path(here, there)
        if here == there:
            return Way(path.alpha, Station(("memory", source), path.beta), (), Station(("copy", target), path.beta))
        card = network.hosts[here].nic
        links = tuple(Station(("link", index), network.links[index].beta) for index in path.links)
        return Way(path.alpha, Station(("out", here), card.egress_beta, card.gap), links,
                   Station(("into", there), path.beta), shared=crowded or bool(links))  # fmt: skip

    return Ways(make, lambda rank: network.hosts[network.host_of(rank)].slowdown)
