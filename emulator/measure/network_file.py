"""Write measured links as a network file for ``--net``: measure a cluster once, emulate it anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from emulator.measure import protocol_limits
from emulator.network.files import section

Fits = Sequence[Mapping[str, Any]]
Segment = tuple[int, float, float]
"""Bytes above which it holds, alpha (s), beta (s/B)."""

_ALIKE = 0.1
"""Relative difference of alpha or beta up to which links count as equal."""
_SAME = 0.01
"""The same for two segments."""


def written(
    fits: Fits, hosts: Sequence[str], about: str, limits: Mapping[str, int] = MappingProxyType({})
) -> tuple[str, list[str]]:
    """The text of a network file with the median terms of the measured links, and notes on what it leaves out.

    Links between hosts are its ``[link]``, those inside of hosts its ``[loopback]``. Where all ranks are on one host,
    each stands for a host of its own. Where messages above some size take an alpha more, or longer, they ask their
    receiver first (2 alpha): that size is the eager limit of its ``[protocol]``. Between hosts that speak TCP messages
    share cards packet by packet, which long ones keep busy: there short messages are no quicker per byte.

    Parameters
    ----------
    fits : of links, as `demos.links` leaves them in its result
    hosts : of each rank
    about : comment in the first line
    limits : sizes at which the library changes its protocol, see `emulator.measure.protocol_limits.limits`
    """
    alone = len(set(hosts)) == 1
    inside = [fit for fit in fits if hosts[fit["source"]] == hosts[fit["destination"]]]
    between = fits if alone else [fit for fit in fits if fit not in inside]
    segments = _segments(between)
    alpha, beta = _median(between)
    packets = not alone and all(fit.get("transport") == "tcp" for fit in between)
    if segments:
        alpha, beta = segments[0][1], segments[-1][2] if packets else min(each[2] for each in segments)
    eager_limit, protocol = _protocol(between, segments, limits)
    parts = [f"# {about}\n", 'sharing = "packet"\n' if packets else "", section("link", alpha, beta)]
    for above, *terms in _different(_no_quicker(_without_handshakes(segments, eager_limit), beta)):
        parts.append(f"[[link.segment]]\nabove = {above}\n{_terms(*terms)}")
    parts.append(protocol)
    if inside and not alone:
        parts.append(section("loopback", *_median(inside)))
    left_out = [f"links {where} differ by up to {apart:.0%}: the file has their median"
                for where, group in (("between hosts", between), ("inside of hosts", [] if alone else inside))
                if (apart := _apart(group)) > _ALIKE]  # fmt: skip
    if not alone:
        each = Counter(hosts)
        placement = "block" if list(hosts) == sorted(hosts, key=list(each).index) else "cyclic"
        parts.append(f'[hosts]\nranks_per_host = {max(each.values())}\nplacement = "{placement}"\n')
        if len(set(each.values())) > 1:
            left_out.append(f"hosts have {min(each.values())} to {max(each.values())} ranks: the file has the most")
    broken = [fit for fit in between if len(fit["segments"]) > 1 and not segments]
    if broken:
        which = f"{len(broken)} of {len(between)} links change their protocol with size"
        left_out.append(f"{which}: the file has the alpha of short and the beta of long messages")
    return "\n".join(filter(None, parts)), left_out


def _terms(alpha: float, beta: float) -> str:
    return section("", alpha, beta).partition("\n")[2]


def _segments(fits: Fits) -> list[Segment]:
    """Sizes (bytes) above which the terms change, with median terms, if all links change equally often.

    Of links that were measured at a few sizes only, the segments are not known.
    """
    fine = [fit for fit in fits if fit.get("fine", True)]
    numbers = {len(fit["segments"]) for fit in fine}
    if len(numbers) != 1 or numbers == {1}:
        return []
    groups = _groups(fine)
    if any(not one["beta"]["value"] for group in groups for one in group):
        return []
    lasts = [1, *(_middle(group, "last") for group in groups[:-1])]
    return [(last, *_median(group)) for last, group in zip(lasts, groups, strict=True)]


def _groups(fits: Fits) -> list[Fits]:
    """The first segments of all links, the second ones, and so on."""
    return list(zip(*(fit["segments"] for fit in fits), strict=True))


def _middle(group: Fits, name: str) -> int:
    return round(float(np.median([one[name] for one in group])))


def _protocol(fits: Fits, segments: Sequence[Segment], limits: Mapping[str, int]) -> tuple[int | None, str]:
    """The eager limit and the section that states it; None and no text without rendezvous.

    It is the library's limit where one lies between the two sizes that were measured, else the smaller one of these.
    """
    transport = next((fit["transport"] for fit in fits if fit.get("transport")), "")
    for (_, alpha, beta), (above, *longer) in pairwise(segments):
        least = segments[0][1]
        if longer[0] < 2 * least or longer[0] + above * longer[1] - alpha - above * beta < least:
            continue
        first = min(one["first"] for fit in fits for one in fit["segments"] if one["last"] > above)
        named = protocol_limits.near(above, first, limits, transport)
        limit = max(above, limits[named[0]] - protocol_limits.HEADER) if named else above
        preset = f'preset = "openmpi-{transport}"\n' if named else ""
        return above, f"[protocol]\n{preset}eager_limit = {limit}\n"
    return None, ""


def _without_handshakes(segments: Sequence[Segment], eager_limit: int | None) -> list[Segment]:
    """Segments without the 2 alpha of the rendezvous above the eager limit."""
    if eager_limit is None:
        return list(segments)
    first = segments[0][1]
    return [(above, max(0.0, alpha - 2 * first) if above >= eager_limit else alpha, beta)
            for above, alpha, beta in segments]  # fmt: skip


def _no_quicker(segments: Sequence[Segment], beta: float) -> list[Segment]:
    """Segments of at least `beta` seconds per byte; faster ones keep the times of their shortest messages."""
    return [(above, max(0.0, alpha - above * max(0.0, beta - own)), max(own, beta)) for above, alpha, own in segments]


def _different(segments: Sequence[Segment]) -> list[Segment]:
    """Segments without those that change nothing; none if only one remains."""
    found: list[Segment] = []
    for each in segments:
        if not found or not np.allclose(each[1:], found[-1][1:], rtol=_SAME, atol=0):
            found.append(each)
    return found if len(found) > 1 else []


def _median(fits: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    terms = np.array([(fit["alpha"]["value"], fit["beta"]["value"]) for fit in fits])
    alpha, beta = np.median(terms, axis=0).tolist()
    return alpha, beta


def _apart(fits: Fits) -> float:
    """The largest term of the links over the smallest, less 1, for links measured at the same sizes."""
    each = ([fit for fit in fits if fit.get("fine", True) == fine] for fine in (True, False))
    return max(_spread(alike) for alike in each)


def _spread(fits: Fits) -> float:
    terms = np.array([(fit["alpha"]["value"], fit["beta"]["value"]) for fit in fits]).reshape(-1, 2)
    if not len(terms) or not (terms > 0).all():
        return 0.0
    return float((terms.max(axis=0) / terms.min(axis=0)).max() - 1)
