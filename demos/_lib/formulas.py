"""Cost formulas, configured or fitted, and their errors, judged on networks that meet their assumptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from demos._lib.timing import Formula
from emulator import costs
from emulator.measure.series import Series
from emulator.run.demo_run import Run

if TYPE_CHECKING:
    from emulator.network import Network

WITHIN = 0.10  # of each other: measured and predicted time on an emulated network

Timed = tuple[str, int, int, Sequence[float]]
"""A pattern, ranks, bytes, and the seconds of its repetitions."""
Terms = Callable[[str, int], costs.Terms]
"""The coefficients of a pattern on p ranks."""


def fitted(run: Run, rows: Iterable[Timed], terms: Terms, name: str) -> Callable[[str, int, int], float]:
    """Fit alpha and beta to these times, add the fit to the result by its name, and return the formula."""
    from emulator.measure.fit import fit  # on rank 0 only, where something is fitted
    from emulator.measure.model import Point

    line = fit([Point(size, terms(pattern, p), s, ranks=p) for pattern, p, size, s in rows if any(s)], seed=run.seed)
    run.fits.append(line.record("collective", name))
    return lambda pattern, p, size: line.predict(terms(pattern, p), size)


def formula(run: Run, series: Iterable[Series], configured: Formula, terms: Terms, name: str) -> Formula:
    """The closed form with the configured network's terms, or with terms fitted to these times; records the origin."""
    if run.network is not None:
        run.extra["formula"] = "configured alpha and beta"
        return configured
    if len(run.sizes) < 2:
        run.extra["formula"] = "no formula: fitting alpha and beta takes two --sizes"
        return lambda pattern, p, size: None
    run.extra["formula"] = "alpha and beta fitted to these very times"
    rows = [(one.job.pattern, one.job.ranks, one.job.bytes, one.seconds) for one in series]
    return fitted(run, rows, terms, name)


def slowest_path(run: Run) -> tuple[float, float]:
    """The largest alpha and beta of all paths of the configured network."""
    assert run.network is not None
    described = run.network.sized(run.size).describe()
    return described["alpha"]["max"], described["beta"]["max"]


def uniform(network: Network, into: int | None = None) -> bool:
    """Whether every rank has a host of its own and all paths (absent `into`: between all ranks) are equal, steady and
    share no link."""
    ranks = range(network.ranks)
    alone = len({network.host_of(rank) for rank in ranks}) == network.ranks
    ends = ranks if into is None else [into]
    paths = {network.between(source, end) for end in ends for source in ranks if source != end}
    path = next(iter(paths))
    return alone and len(paths) == 1 and not path.links and path.jitter is None and path.loss is None


def ideal(run: Run, into: int | None = None) -> bool:
    """Whether the formulas are exact: an emulated network with uniform paths, and no compute time."""
    if run.network is None or run.options.compute != "none" or not run.network.spec.linear:
        return False
    return run.network.spec.sharing == "message" and uniform(run.network.sized(run.size), into)


def judge(
    run: Run,
    what: str,
    pairs: Iterable[tuple[float | None, float]],
    limit: float = WITHIN,
    into: int | None = None,
    exact: bool = True,
) -> None:
    """Add the errors of a formula to the result; on an ideal network one above `limit` fails the run. Rank 0 only.

    Parameters
    ----------
    what : what was measured, in the plural
    pairs : predicted (None where there is no formula) and measured seconds
    into : the formula is only of paths into this rank
    exact : whether the order of messages at a card is that of the formula, so that an ideal network keeps to it
    """
    off = [abs(predicted / measured - 1) for predicted, measured in pairs if predicted is not None and measured]
    if not off:
        return
    judged, worst = exact and ideal(run, into), max(off)
    errors = {"median": median(off), "worst": worst, "points": len(off), "limit": limit if judged else None}
    run.extra.setdefault("formula_errors", {})[what] = errors
    if judged and worst > limit:
        run.fail(f"{what}: the formula must hold to {limit:g} on this network, it is {worst:.2g} off")
