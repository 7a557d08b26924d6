"""Resolve faults into events (which rank each hits) for a job on its hosts; one seed makes all random choices."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from emulator.errors import UsageError
from emulator.units import format_time
from faults.plan import consistency
from faults.plan.model import UNITS, Event, Fault, When


def resolve(
    faults: Sequence[Fault],
    ranks: int,
    *,
    spares: int = 0,
    steps: int | None = None,
    hosts: Sequence[int] | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    roles: dict[str, Sequence[int]] | None = None,
    seed: int = 0,
    refilled: bool = True,
) -> list[Event]:
    """The events that `faults` mean for one job.

    Parameters
    ----------
    ranks, spares : ranks at work (0 to ranks-1) and ranks that wait (numbered after them)
    steps : steps of the run; a fault at a later step would never fire
    hosts : host number of each rank; absent: all on host 0
    groups : the number of each rank's rack or region, where the network has any: ``{"rack": [0, 0, 1, 1]}``
    roles : ranks of each role of the pattern, e.g. ``{"server": [0], "worker": [1, 2, 3]}``.
    seed : key of every random choice: the same seed gives the same victims at the same instants
    refilled : another process takes a dead rank's place, and later faults can hit it

    Raises
    ------
    UsageError
        A rank, host, role or step outside the job, or faults that contradict each other.
    """
    known = {UNITS[0]: list(hosts) if hosts is not None else [0] * (ranks + spares), **(groups or {})}
    events: list[Event] = []
    for number, fault in enumerate(faults):
        draw = random.Random(f"{seed}/{number}/{fault.text}")
        if fault.target.unit not in known:
            raise UsageError(
                f"fault {fault.text!r}: the job's network has no {fault.target.unit}s: give --net a file that has, "
                f"such as examples/networks/racks.toml, or name the hosts: host 0-3"
            )
        placed = known[fault.target.unit]
        _check_step(fault, steps)
        if fault.kind.two_sides:
            events += _cut(fault, number, placed)
            continue
        taken = {event.rank for event in events if event.ends_rank}
        pool = [rank for rank in range(ranks) if rank not in taken]
        if fault.when.rate_hz is not None:
            events += _by_rate(fault, number, pool, draw, _ranks_of(fault, placed, roles))
            continue
        if fault.target.random:
            if not pool:
                raise UsageError(f"fault {fault.text!r}: every rank is a victim already, no rank is left to draw")
            victims = [draw.choice(pool)]
        else:
            victims = _ranks_of(fault, placed, roles)
        meant = [_event(fault, f"{number}.{rank}", rank, fault.when) for rank in victims]
        if fault.kind.whole_host and fault.target.hosts:
            meant = [replace(event, host=placed[event.rank]) for event in meant]
        events += meant
    consistency.check(events, refilled)
    return events


def _event(fault: Fault, ident: str, rank: int, when: When) -> Event:
    return Event(ident, fault.text, fault.kind, rank, when, fault.duration_s, fault.factor, nic=fault.target.nic)


def _cut(fault: Fault, number: int, placed: Sequence[int]) -> list[Event]:
    """Make an event for each rank whose outgoing messages the cut stops."""
    target = fault.target
    side = _members(fault, target.ranks, target.hosts, placed)
    others = _members(fault, target.others, target.other_hosts, placed)
    if both := set(side) & set(others):
        raise UsageError(f"fault {fault.text!r}: a rank stands on one side of a cut, {min(both)} is on both")
    return [
        replace(_event(fault, f"{number}.{rank}", rank, fault.when), side=side, others=others, one_way=target.one_way)
        for rank in (side if target.one_way else sorted((*side, *others)))
    ]


def _members(fault: Fault, ranks: Sequence[int], hosts: Sequence[int], placed: Sequence[int]) -> tuple[int, ...]:
    """The ranks, or all ranks of the hosts; rejects those outside the job."""
    if ranks and max(ranks) >= len(placed):
        raise UsageError(f"fault {fault.text!r}: rank {max(ranks)} is outside the job of ranks 0 to {len(placed) - 1}")
    for host in hosts:
        if host not in placed:
            unit = fault.target.unit
            raise UsageError(
                f"fault {fault.text!r}: {unit} {host} is outside the job, whose {unit}s are 0 to {max(placed)}"
            )
    return tuple(ranks) if not hosts else tuple(rank for rank, host in enumerate(placed) if host in hosts)


def _ranks_of(fault: Fault, placed: Sequence[int], roles: dict[str, Sequence[int]] | None) -> list[int]:
    target = fault.target
    if target.role is not None:
        known = roles or {}
        if target.role not in known:
            legal = ", ".join(known) or "none"
            raise UsageError(f"fault {fault.text!r}: this pattern has no {target.role}; its roles: {legal}")
        return [known[target.role][0]]
    return list(_members(fault, target.ranks, target.hosts, placed))


def _check_step(fault: Fault, steps: int | None) -> None:
    if steps is not None and fault.when.step is not None and fault.when.step >= steps:
        raise UsageError(
            f"fault {fault.text!r}: step {fault.when.step} is outside the run of steps 0 to {steps - 1}; "
            f"name an earlier one or raise --steps"
        )


def _by_rate(fault: Fault, number: int, pool: list[int], draw: random.Random, ranks: list[int]) -> list[Event]:
    """Draw a Poisson process: exponential gaps; each victim is hit once, and of random victims one rank is spared."""
    order = ranks or draw.sample(pool, k=max(0, len(pool) - 1))
    rate = fault.when.rate_hz or 1.0
    events, at = [], 0.0
    for count, rank in enumerate(order):
        at += draw.expovariate(rate)
        events.append(replace(_event(fault, f"{number}.{count}", rank, When(time_s=at)), rated=True))
    return events


def describe(event: Event) -> str:
    """Describe an event for `--dry-run`."""
    when = event.when
    if when.time_s is not None:
        instant = f"{format_time(when.time_s)} after the first step began"
    elif when.emulated_s is not None:
        instant = f"at emulated time {format_time(when.emulated_s)}"
    elif when.recovery:
        instant = "when a recovery begins"
    else:
        at_step = f"at step {when.step}" if when.step is not None else "once"
        instant = f"{at_step} on entering {when.phase}" if when.phase else f"{at_step}, before its work"
    if when.offset_s:
        instant += f", {format_time(when.offset_s)} later (kernel timer)"
    lasting = f" for {format_time(event.duration_s)}" if event.duration_s is not None else ""
    scaled = f" by {event.factor:g}" if isinstance(event.factor, float) else f" by {event.factor}"
    scaled = scaled if event.factor is not None else ""
    whom = f"{'the NIC of ' if event.nic else ''}rank {event.rank}"
    if event.kind.two_sides:
        ways = "to" if event.one_way else "from"
        whom = f"ranks {_list(event.side)} {ways} {_list(event.others)}"
    return f"{event.kind.name} {whom}{scaled}{lasting} {instant}"


def _list(ranks: Sequence[int]) -> str:
    return ",".join(map(str, ranks))
