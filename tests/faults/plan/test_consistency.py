"""Plans of which only a part can happen are refused; all others are not."""

import pytest

from emulator.errors import UsageError
from faults.drill.request import Request
from faults.plan.events import resolve
from faults.plan.grammar import parse


def events(*lines: str, refilled: bool):
    return resolve([parse(line) for line in lines], 8, refilled=refilled)


@pytest.mark.parametrize("refilled", [False, True])
@pytest.mark.parametrize(
    "lines",
    [
        ("kill 3 @ step 5", "hang 3 @ step 5"),
        ("kill 3 @ step 5 + 100 us", "kill 3 @ step 5 + 200 us"),
        ("kill 3 @ step 5 + 1 ms", "kill 3 @ step 5 phase all_gather"),
        ("kill 3 @ recovery", "kill 3 @ recovery + 1 ms"),
        ("kill 3 @ time 1 s", "kill 3 @ time 1 s"),
        ("kill 2,3 @ step 5", "kill 3 @ step 5"),
    ],
)
def test_a_process_dies_once(lines, refilled: bool) -> None:
    said = "which can die only once in a step" if refilled else "and no process replaces it after the first"
    with pytest.raises(UsageError, match=f"contradict each other: .* both end rank 3, {said}; drop one"):
        events(*lines, refilled=refilled)


@pytest.mark.parametrize(
    "lines",
    [
        ("kill 3 @ step 9", "kill 3 @ step 5"),
        ("kill 3 @ step 5", "kill 3 @ recovery"),
        ("kill 3 @ step 5", "kill 3 @ time 9 s"),
        ("hang 3 @ step 5", "kill 3 @ step 6"),
    ],
)
def test_a_rank_whose_place_is_taken_can_die_again(lines) -> None:
    assert len(events(*lines, refilled=True)) == 2
    said = "no process replaces it after the first; drop one, or recover by spare, respawn or restart"
    with pytest.raises(UsageError, match=said):
        events(*lines, refilled=False)


def test_a_rate_that_may_never_come_to_a_rank_contradicts_nothing() -> None:
    assert len(events("kill 3 @ rate 1/s", "kill 3 @ step 5", refilled=False)) == 2
    assert len(events("hang 3 @ step 5 for 50 ms", "kill 3 @ step 6", refilled=False)) == 2


@pytest.mark.parametrize("late", ["slow 1 @ step 10 by 2", "slow 1 @ step 3 + 1 ms", "lie 1 @ step 3 phase mix"])
def test_nobody_meets_a_rank_that_is_dead_and_not_replaced(late: str) -> None:
    assert len(events("kill 1 @ step 3", late, refilled=True)) == 2
    with pytest.raises(UsageError, match="is aimed at rank 1, which 'kill 1 @ step 3' has killed"):
        events("kill 1 @ step 3", late, refilled=False)


@pytest.mark.parametrize("early", ["slow 1 @ step 2", "slow 1 @ step 3", "slow 1 @ recovery", "slow 1 @ time 1 s"])
def test_what_may_come_before_the_death_is_meant(early: str) -> None:
    assert len(events("kill 1 @ step 3 + 1 ms", early, refilled=False)) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("slow 3 @ step 5", "slow 3 @ step 6"),
        ("slow 3 @ step 5", "slow 3 @ time 1 s"),
        ("slow 3 @ time 5 s for 3 s", "slow 3 @ time 7 s for 1 s"),
        ("slow 3 @ step 5 for 3 s", "slow 3 @ step 5 + 1 s"),
        ("lie 3 @ step 1", "lie 3 @ step 9 by nan"),
        ("lose nic 3 @ step 1", "lose nic 3 @ step 9"),
        ("cut 0|3 @ step 5 for 1 s", "cut 3|0 @ step 5 for 1 s"),
        ("hang 3 @ step 5 for 1 s", "hang 3 @ step 5 + 500 ms for 1 s"),
    ],
)
def test_one_fault_of_a_kind_at_a_time(first: str, second: str) -> None:
    for lines in ((first, second), (second, first)):
        with pytest.raises(UsageError, match="lasts on the same target"):
            events(*lines, refilled=True)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("slow 3 @ step 5 for 1 s", "slow 3 @ step 6"),  # which may well be later than a second
        ("slow 3 @ time 5 s for 3 s", "slow 3 @ time 8 s for 1 s"),
        ("slow 3 @ step 5", "slow 4 @ step 5"),
        ("slow 3 @ step 5", "lie 3 @ step 5"),
        ("lose 3 @ step 5", "lose nic 3 @ step 5"),
        ("cut 0|3 @ step 5 for 1 s", "cut 0|4 @ step 5 for 1 s"),
        ("cut 0>3 @ step 5 for 1 s", "cut 3>0 @ step 5 for 1 s"),
    ],
)
def test_what_has_ended_or_meets_another_target_is_meant(first: str, second: str) -> None:
    assert events(first, second, refilled=True)


def order(*lines: str, recovery: str = "shrink", pattern: str = "ring", **more) -> Request:
    return Request(pattern, 4, lines, recovery, spares=int(recovery == "spare"), **more)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (order("kill 3 @ recovery"), "waits for a recovery"),
        (order("kill 3 @ recovery", "slow 1 @ step 2"), "add another death, e.g. --fault 'kill 0 @ step 2'"),
        (order("kill 0 @ phase rebuild"), "waits for phase rebuild, .* --fault 'kill 1 @ step 2'"),
        (order("kill 3 @ step 7 phase agree", options={"agree": 3}), "waits for phase agree"),
        (order("kill 3 @ recovery", pattern="gossip", recovery="continue"), "waits for a recovery"),
    ],
)
def test_a_recovery_needs_somebody_elses_death(plan: Request, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan.spec(0)


@pytest.mark.parametrize(
    "plan",
    [
        order("kill 3 @ recovery", "kill 1 @ step 2"),
        order("kill 3 @ recovery", "hang 1 @ step 2"),
        order("kill 3 @ recovery", "kill 0 @ rate 1/s"),
        order("kill 3 @ step 8 phase agree", options={"agree": 3}),
        order("kill 3 @ phase agree"),  # all agree to leave
    ],
)
def test_a_fault_in_a_recovery_that_will_come_is_meant(plan: Request) -> None:
    assert plan.spec(0).events


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (order("kill 1 @ step 2", "kill 3 @ phase restore"), "all_gather, agree, rebuild, shrink, replay, got"),
        (order("kill 1 @ step 2", "kill 3 @ phase spare", recovery="restart"), "reduce_scatter, all_gather, got"),
        (
            order("kill 3 @ phase mix", pattern="parameter-server", recovery="continue"),
            "has the phases pull, push, apply, got",
        ),
        (order("kill 3 @ phase reduce_scatter", options={"reduction": "ordered"}), "has the phases all_gather, agree"),
    ],
)
def test_a_phase_that_the_policy_never_enters_is_refused_with_those_it_has(plan: Request, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan.spec(0)
