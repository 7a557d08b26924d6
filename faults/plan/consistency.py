"""Reject contradictory fault plans before anything is started, in a message that names both faults.

- a rank dies twice, or a fault is aimed at a rank that is dead and has not been replaced
- a fault begins on a target while an earlier one of its kind lasts
- a fault waits for a recovery, and no other fault causes one
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

from emulator.errors import UsageError
from emulator.policies import named
from faults.plan.model import Event, When

_BEFORE_WORK = ""  # the point within a step before all named ones


def check(events: Sequence[Event], refilled: bool) -> None:
    """Reject faults that exclude one another.

    Parameters
    ----------
    refilled : another process takes a dead rank's place, and later faults can hit it

    Raises
    ------
    UsageError
        Two faults of which only one can happen.
    """
    by_rank: dict[int, list[Event]] = {}
    for event in events:
        by_rank.setdefault(event.rank, []).append(event)
    for rank, met in by_rank.items():
        for first, second in combinations(met, 2):
            if first.surely_ends_rank and second.surely_ends_rank:
                _check_two_ends(rank, first, second, refilled)
            elif first.surely_ends_rank or second.surely_ends_rank:
                if not refilled:
                    _check_after_death(rank, *((first, second) if first.surely_ends_rank else (second, first)))
            else:
                _check_overlap(first, second)


def check_recoveries(events: Sequence[Event], only_in_repair: Callable[[When], bool]) -> None:
    """Reject a fault at a recovery in a plan without a death that causes one.

    Parameters
    ----------
    only_in_repair : whether a job reaches that point only in a recovery
    """
    if any(event.kind.ends and not only_in_repair(event.when) for event in events):
        return
    for event in events:
        if only_in_repair(event.when):
            when = "a recovery" if event.when.recovery else f"phase {event.when.phase}, which is part of a recovery"
            raise UsageError(
                f"fault {event.text!r} waits for {when}, and no other fault of the plan causes one: "
                f"add another death, e.g. --fault 'kill {0 if event.rank else 1} @ step 2'"
            )


def _refilling() -> str:
    """The policies under which a rank can die again: another process is in its place."""
    return named(lambda policy: policy.keeps_places)


def _moment(when: When) -> tuple[object, ...]:
    """What the offset of a time is counted from: a step, a phase or a clock."""
    if when.time_s is not None:
        return ("time",)
    if when.emulated_s is not None:
        return ("emulated",)
    return (when.step, when.phase, when.recovery)


def _instant(when: When) -> float:
    """Seconds after the moment that `_moment` names."""
    return (when.time_s or 0.0) + (when.emulated_s or 0.0) + when.offset_s


def _is_before(one: When, other: When) -> bool:
    """Whether `one` is certain to come before `other`, by step and offset or on one clock."""
    if _moment(one) == _moment(other):
        return _instant(one) < _instant(other)
    if one.step is None or other.step is None:
        return False
    if one.step != other.step:
        return one.step < other.step
    # Both within one step: named points come in an order that only the algorithm knows.
    return (one.phase or _BEFORE_WORK) == _BEFORE_WORK and not one.offset_s


def _check_two_ends(rank: int, first: Event, second: Event, refilled: bool) -> None:
    """Reject two deaths of one rank unless it can be replaced between them, which is impossible within a step."""
    same_step = first.when.step is not None and first.when.step == second.when.step
    same_moment = _moment(first.when) == _moment(second.when) and first.when.time_s is None
    if refilled and not same_step and not same_moment and first.when != second.when:
        return
    earlier, later = (second, first) if _is_before(second.when, first.when) else (first, second)
    raise UsageError(
        f"faults contradict each other: {earlier.text!r} and {later.text!r} both end rank {rank}, "
        f"{'which can die only once in a step' if refilled else 'and no process replaces it after the first'}; "
        f"drop one{'' if refilled else f', or recover by {_refilling()}'}"
    )


def _check_after_death(rank: int, death: Event, other: Event) -> None:
    if _is_before(death.when, other.when):
        raise UsageError(
            f"faults contradict each other: {other.text!r} is aimed at rank {rank}, which {death.text!r} has "
            f"killed and no process replaces; drop one, or recover by {_refilling()}"
        )


def _check_overlap(first: Event, second: Event) -> None:
    """Reject a second lasting fault of one kind on one target: it would end or replace the first."""
    if first.kind != second.kind or not first.kind.persists or _target(first) != _target(second):
        return
    if _is_before(second.when, first.when):
        first, second = second, first
    lasts = math.inf if first.duration_s is None else first.duration_s
    if _moment(first.when) == _moment(second.when):
        overlap = _instant(second.when) < _instant(first.when) + lasts
    else:  # of moments that cannot be compared, what never ends meets the other if that never ends either
        endless = lasts == math.inf
        overlap = endless and (second.duration_s is None or _is_before(first.when, second.when))
    if overlap:
        raise UsageError(
            f"faults contradict each other: {second.text!r} begins while {first.text!r} lasts on the same target; "
            f"drop one, or let the first end before with for DURATION"
        )


def _target(event: Event) -> tuple[object, ...]:
    sides = (event.side, event.others) if event.one_way else tuple(sorted((event.side, event.others)))
    return (event.nic, event.one_way, sides)
