"""Raw samples of several launches, the rows of ``samples.csv``, as series of `emulator.measure.series`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emulator.measure.series import Job, Series

Rows = Sequence[Mapping[str, Any]]


def series_of(rows: Rows) -> list[Series]:
    """The series of one launch, without repetitions, from its raw samples."""
    found: dict[Any, Series] = {}
    for row in rows:
        ends = (row.get("source"), row.get("destination"))
        known = None not in ends
        members = ends if known else tuple(range(row["ranks"]))
        labels = {name: row[name] for name in ("source", "destination", "algorithm") if row.get(name) is not None}
        job = Job(row["pattern"], row["ranks"], row["bytes"], members, labels=labels)  # type: ignore[arg-type]
        found.setdefault(job.name, Series(job))
    return list(found.values())


def join(series: Sequence[Series], launches: Iterable[Rows]) -> None:
    """Add the repetitions of other launches to series, in place and before their own.

    Parameters
    ----------
    launches : the raw samples of each
    """
    others = list(launches)
    found = {one.job.name: one for one in series}
    own = {name: (one.seconds, one.skews) for name, one in found.items()}
    for one in series:
        one.seconds, one.skews, one.launches = [], [], []
    for number, rows in enumerate(others):
        for row in rows:
            to = found.get(named(row))
            if to is not None:
                to.seconds.append(float(row["seconds"]))
                to.skews.append(float(row["skew"] or 0.0))
                to.launches.append(number)
    for name, (seconds, skews) in own.items():
        found[name].seconds += seconds
        found[name].skews += skews
        found[name].launches += [len(others)] * len(seconds)


def named(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The name of the job to which a row of samples, or a measurement of a result, belongs."""
    return row["pattern"], row["ranks"], row["bytes"], row.get("source"), row.get("destination")


def split(rows: Rows) -> list[Rows]:
    """Split the raw samples of a run by launch, in order."""
    by_launch: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_launch.setdefault(row.get("launch"), []).append(row)
    return list(by_launch.values())


def of_itself(rows: Rows) -> Rows:
    """The raw samples of a run's own launch, which come after those of earlier runs that it includes."""
    return split(rows)[-1]


def distinct(launches: Iterable[Rows]) -> list[Rows]:
    """Drop launches with exactly the timings of another one: the same launch was read twice."""
    found = {tuple((row["pattern"], row["ranks"], row["bytes"], row["seconds"]) for row in rows): rows
             for rows in launches}  # fmt: skip
    return list(found.values())
