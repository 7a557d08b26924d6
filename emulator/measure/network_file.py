"""The network file of measured links, which ``--net`` takes back: measure a cluster once, emulate it anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from emulator.network.files import section

Fits = Sequence[Mapping[str, Any]]

_ALIKE = 0.1
"""Relative difference of alpha or beta up to which links count as equal."""


def written(fits: Fits, hosts: Sequence[str], about: str) -> tuple[str, list[str]]:
    """The text of a network file with the median terms of the links that were measured, and what it leaves out.

    Links between hosts are its ``[link]``, those inside of hosts its ``[loopback]``. Where all ranks are on one host,
    each stands for a host of its own.

    Parameters
    ----------
    fits : of links, as `demos.links` leaves them in its result
    hosts : of each rank
    about : comment in the first line
    """
    alone = len(set(hosts)) == 1
    inside = [fit for fit in fits if hosts[fit["source"]] == hosts[fit["destination"]]]
    between = fits if alone else [fit for fit in fits if fit not in inside]
    segments = _segments(between)
    alpha, beta = _median(between)
    if segments:
        alpha, beta = segments[0][1], min(each[2] for each in segments)
    parts = [f"# {about}\n", section("link", alpha, beta)]
    parts += [f"[[link.segment]]\nabove = {above}\n{_terms(*terms)}" for above, *terms in segments]
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
    return "\n".join(parts), left_out


def _terms(alpha: float, beta: float) -> str:
    return section("", alpha, beta).partition("\n")[2]


def _segments(fits: Fits) -> list[tuple[int, float, float]]:
    """Bytes above which the terms change, with the median terms, where all links change them equally often."""
    numbers = {len(fit["segments"]) for fit in fits}
    if len(numbers) != 1 or numbers == {1}:
        return []
    each = [list(fit["segments"]) for fit in fits]
    groups = list(zip(*each, strict=True))
    if any(not one["beta"]["value"] for group in groups for one in group):
        return []
    lasts = [1, *(round(float(np.median([one["last"] for one in group]))) for group in groups[:-1])]
    return [(last, *_median(group)) for last, group in zip(lasts, groups, strict=True)]


def _median(fits: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    terms = np.array([(fit["alpha"]["value"], fit["beta"]["value"]) for fit in fits])
    alpha, beta = np.median(terms, axis=0).tolist()
    return alpha, beta


def _apart(fits: Iterable[Mapping[str, Any]]) -> float:
    """The largest term of links over the smallest, less 1."""
    terms = np.array([(fit["alpha"]["value"], fit["beta"]["value"]) for fit in fits]).reshape(-1, 2)
    if not len(terms) or not (terms > 0).all():
        return 0.0
    return float((terms.max(axis=0) / terms.min(axis=0)).max() - 1)
