"""Contradictory fault plans are rejected before anything is started, in words that name both faults.

a rank that is ended twice, or met by a fault when it is gone and nobody has taken its place
a fault that begins on a target on which one of its kind is still in force
a fault that waits for a recovery when nothing in the plan makes anybody recover
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

from emulator.errors import UsageError
from faults.plan.model import Event, When

_BEFORE_WORK = ""  # of the points within a step that which comes before all named ones


def check(events: Sequence[Event], refilled: bool) -> None:
    """Refuse faults that exclude each other.

    Parameters
    ----------
    refilled
        Somebody else takes a dead rank's place, whom later faults can meet.

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
            if ends(first) and ends(second):
                _check_two_ends(rank, first, second, refilled)
            elif not refilled and ends(first):
                _check_after_death(rank, first, second)
            elif not refilled and ends(second):
                _check_after_death(rank, second, first)
            _check_overlap(first, second)


def check_recoveries(events: Sequence[Event], only_in_repair: Callable[[When], bool]) -> None:
    """Refuse a fault in a recovery where nobody else dies.

    Parameters
    ----------
    only_in_repair
        Whether a job comes to that point only in a recovery.
    """
    if any(event.kind.ends and not only_in_repair(event.when) for event in events):
        return
    for event in events:
        if only_in_repair(event.when):
            when = "a recovery" if event.when.recovery else f"phase {event.when.phase}, which is part of a recovery"
            raise UsageError(
                f"fault {event.text!r} waits for {when}, and no other fault of the plan makes one begin: "
                f"add another death, e.g. --fault 'kill {0 if event.rank else 1} @ step 2'"
            )


def ends(event: Event) -> bool:
    """Whether it takes a rank away for certain: of a rate's events the last may come after the end of the run."""
    return event.ends_rank and not event.rated


def _moment(when: When) -> tuple[object, ...]:
    """What the offset counts from."""
    if when.time_s is not None:
        return ("time",)
    if when.emulated_s is not None:
        return ("emulated",)
    return (when.step, when.phase, when.recovery)


def _instant(when: When) -> float:
    """Seconds after that moment."""
    return (when.time_s or 0.0) + (when.emulated_s or 0.0) + when.offset_s


def _is_before(one: When, other: When) -> bool:
    """Whether `one` comes before `other` whatever happens: by step, then by offset; by the clock."""
    if _moment(one) == _moment(other):
        return _instant(one) < _instant(other)
    if one.step is None or other.step is None:
        return False
    if one.step != other.step:
        return one.step < other.step
    # Both within one step: named points come in an order that only the algorithm knows.
    return (one.phase or _BEFORE_WORK) == _BEFORE_WORK and not one.offset_s


def _check_two_ends(rank: int, first: Event, second: Event, refilled: bool) -> None:
    """Two deaths of one process: within a step it has no successor yet, and without one it never has."""
    same_step = first.when.step is not None and first.when.step == second.when.step
    same_moment = _moment(first.when) == _moment(second.when) and first.when.time_s is None
    if refilled and not same_step and not same_moment and first.when != second.when:
        return
    earlier, later = (second, first) if _is_before(second.when, first.when) else (first, second)
    raise UsageError(
        f"faults contradict each other: {earlier.text!r} and {later.text!r} both end rank {rank}, "
        f"{'which can die only once in a step' if refilled else 'which can die only once, as nobody replaces it'}; "
        f"drop one{'' if refilled else ', or recover by spare, respawn or restart'}"
    )


def _check_after_death(rank: int, death: Event, other: Event) -> None:
    if _is_before(death.when, other.when):
        raise UsageError(
            f"faults contradict each other: {other.text!r} meets rank {rank}, which {death.text!r} has ended "
            f"and nobody replaces; drop one, or recover by spare, respawn or restart"
        )


def _check_overlap(first: Event, second: Event) -> None:
    """Two faults of a kind that lasts, on one target: the second would end or replace the first."""
    if first.kind != second.kind or not first.kind.persists or _target(first) != _target(second):
        return
    if ends(first) or ends(second):
        return  # a matter of life and death
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
