"""The records of a fault plan: a fault as written, and its events in a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from faults.plan.kinds import KINDS, Kind

ROLES = ("server", "worker", "coordinator")
UNITS = ("host", "rack", "region")
"""What fails as one: a host, or all hosts behind one switch."""


@dataclass(frozen=True)
class Target:
    """The target of a fault: ranks, hosts, a rank's NIC, a rank drawn at random, a role, or two sides of a cut.

    `unit` says of what `hosts` and `other_hosts` are the numbers.
    """

    ranks: tuple[int, ...] = ()
    hosts: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    other_hosts: tuple[int, ...] = ()
    unit: str = "host"
    one_way: bool = False
    nic: bool = False
    random: bool = False
    role: str | None = None


@dataclass(frozen=True)
class When:
    """When a fault fires: `offset_s` seconds after the given step, named point, recovery or time on a clock."""

    step: int | None = None
    phase: str | None = None
    time_s: float | None = None
    emulated_s: float | None = None
    rate_hz: float | None = None
    recovery: bool = False
    offset_s: float = 0.0


@dataclass(frozen=True)
class Fault:
    """A parsed fault line."""

    text: str
    kind: Kind
    target: Target
    when: When
    duration_s: float | None = None
    factor: float | str | None = None


@dataclass(frozen=True)
class Event:
    """What a fault does to one rank (or between two groups of ranks) of one job.

    `ident` is its name in the journal: a fault line may mean several events (a host, a rate). Of `rated` ones, drawn
    as a Poisson process, the last may come after the end of the run. With a number of a `host` (or rack, or region)
    all of its ranks are ended at once, by the first that comes to the point. With `daemon` the process that started the
    rank, a real host's daemon, dies first.
    """

    ident: str
    text: str
    kind: Kind
    rank: int
    when: When
    duration_s: float | None = None
    factor: float | str | None = None
    others: tuple[int, ...] = ()
    side: tuple[int, ...] = ()
    one_way: bool = False
    nic: bool = False
    rated: bool = False
    host: int | None = None
    daemon: bool = False

    @property
    def ends_rank(self) -> bool:
        """Whether the event ends a rank for good."""
        return self.kind.ends and (self.duration_s is None or self.kind.final)

    @property
    def surely_ends_rank(self) -> bool:
        """Whether the event ends a rank for good in every run; the last ones of a rate may come after the run's end."""
        return self.ends_rank and not self.rated

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"kind": self.kind.name, "when": vars(self.when)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Event:
        made = {"kind": KINDS[record["kind"]], "when": When(**record["when"])}
        return cls(**record | made | {name: tuple(record[name]) for name in ("others", "side")})
