"""A timed operation, its repetitions, and when to stop repeating it: data only, without MPI."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emulator.measure import launches, statistics

EXACT = "exact"
"""Why a simulated operation is not repeated: it takes the same time each time."""
CHECKED_RANKS = 64
"""Simulated ranks up to which a collective runs on every rank, whatever the budget (`emulator.measure.simulated`)."""
MESSAGE_S, BYTE_S = 25e-6, 1e-9
"""Wall seconds of a message between live simulated ranks, and of each byte in it, until some have been timed."""


@functools.cache
def first_ranks(count: int) -> tuple[int, ...]:
    """The members of a job on the first ranks; one object, which simulated ranks share."""
    return tuple(range(count))


@dataclass(slots=True)
class Job:
    """An operation to time.

    Attributes
    ----------
    pattern, ranks, bytes : what it is called in the result, the number of ranks it speaks of, and its size
    members : the ranks of the control communicator that take part; all ranks must list the same ones
    comm : the communicator that the operation uses: its clock is read. None on ranks that are not members.
    once : the operation, called on each member; None on ranks that are not members
    check : counts this member's wrong elements after an operation
    parts : operations that one call of `once` stands for; the time is divided by it
    labels : more columns for the raw samples
    schedule : makes the operation's persistent collective of phantoms on a communicator, for a simulation that replays
        it (see `emulator.sim.schedule`) or counts its messages; None: unknown
    every_rank : nothing is replayed
    messages : how many all members send, as far as it is known; None: as the schedule says
    """

    pattern: str
    ranks: int
    bytes: int
    members: tuple[int, ...]
    comm: Any = None
    once: Callable[[], object] | None = None
    check: Callable[[], int] | None = None
    parts: int = 1
    labels: dict[str, Any] = field(default_factory=dict)
    schedule: Callable[[Any], Any] | None = None
    every_rank: bool = False
    messages: int | None = None

    @property
    def name(self) -> tuple[Any, ...]:
        """The key that distinguishes the jobs of a run; see `emulator.measure.samples.named`."""
        return self.pattern, self.ranks, self.bytes, self.labels.get("source"), self.labels.get("destination")


@dataclass
class Series:
    """The repetitions of a job, on rank 0.

    Attributes
    ----------
    seconds : time of each repetition, from the first start to the last end
    skews : latest start minus earliest start of the members, in seconds per operation: the uncertainty of the time
    wrong : wrong elements over all members and all checks; None where no element was computed
    stopped : ``"interval"``, ``"repetitions"``, ``"budget"`` or ``"exact"``: why it was not repeated further
    launches : the number of each repetition's launch, from 0, where there are several; else empty
    """

    job: Job
    seconds: list[float] = field(default_factory=list)
    skews: list[float] = field(default_factory=list)
    wrong: int | None = 0
    stopped: str = ""
    launches: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """The ``seconds`` of a measurement in the result file; over launches, if there are several."""
        found = {**statistics.summary(self.seconds), "skew": float(np.median(self.skews)), "stopped": self.stopped}
        if self.stopped == EXACT:
            found["ci95"] = (found["median"], found["median"])
        if len(medians := launches.medians(self.seconds, self.launches)) > 1:
            found["median"] = float(np.median(medians))
            known = found["ci95"] is not None and min(medians) > 0
            found["ci95"] = launches.interval(medians) if known else None
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Raw samples, one row per repetition, for ``samples.csv``."""
        name = {"pattern": self.job.pattern, "ranks": self.job.ranks, "bytes": self.job.bytes, **self.job.labels}
        pairs = enumerate(zip(self.seconds, self.skews, strict=True))
        rows = [{**name, "repetition": i, "seconds": seconds, "skew": skew} for i, (seconds, skew) in pairs]
        if not self.launches:
            return rows
        return [{**row, "launch": launch} for row, launch in zip(rows, self.launches, strict=True)]


@dataclass(frozen=True)
class Stop:
    """The rule for when a job has been repeated enough.

    Attributes
    ----------
    budget : wall seconds for all jobs together. Every job runs at least twice, whatever the budget: once to warm up and
        to be checked, once to be timed.
    width : enough when the 95 % interval of the median is at most this share of the median wide
    fewest, most : repetitions before the interval is believed, and at most
    """

    budget: float
    width: float = 0.05
    fewest: int = 10
    most: int = 1000

    def reason(self, samples: Sequence[float]) -> str:
        """Why these samples suffice; an empty string if they do not."""
        if len(samples) >= self.fewest and statistics.relative_width(samples) <= self.width:
            return "interval"
        return "repetitions" if len(samples) >= self.most else ""
