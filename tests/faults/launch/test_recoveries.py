"""What the launcher makes of what ranks say of their recoveries and of their ends."""

from faults.launch.recoveries import in_words, recoveries
from faults.record import outcome
from faults.record.outcome import Process


def test_what_ranks_tell_of_a_recovery_becomes_one_fact_and_one_line() -> None:
    of = {"dead": [2], "step": 40, "policy": "shrink", "ranks": 3}
    told = [of | {"at": 11.0 + late, "seconds": 0.25 + late, "back_to": back} for late, back in ((0.0, 40), (0.5, 37))]
    told += [{"dead": [0], "at": 12.0, "ranks": 2}, {"resumed": 30, "at": 14.0}, {"resumed": 30, "at": 15.0}]
    found = recoveries(told, 10.0, relaunched=13.0)
    assert found == [
        {"dead": [2], "step": 40, "at": 1.0, "policy": "shrink", "seconds": 0.75, "lost_steps": 3, "ranks": 3}
        | {"left": False, "joined": []},
        {"dead": [0], "step": None, "at": 2.0, "ranks": 2},
        {"resumed": 30, "at": 5.0, "seconds": 2.0},
    ]
    assert recoveries([{"aborted": 0, "at": 11.2}, *told], 10.0)[1:] == []
    assert list(map(in_words, found)) == [
        "rank 2 died in step 40, 1.00 s after the start: shrink, 3 ranks went on after 750 ms, 3 steps done again",
        "rank 0 died, 2.00 s after the start: the other 2 went on without",
        "restart: went on from step 30 after 2.00 s",
    ]


def test_ranks_that_a_death_met_in_two_steps_tell_of_one_recovery() -> None:
    died = {"dead": [1], "policy": "shrink", "ranks": 3, "joined": []}
    told = [
        died | {"at": 11.0 + late, "seconds": 0.06, "step": step, "back_to": 28} for late, step in ((0, 31), (0.01, 30))
    ]
    told.append(died | {"at": 12.0, "seconds": 0.06, "step": 33, "back_to": 33})  # its place was filled, and lost again
    assert [(facts["step"], facts["lost_steps"]) for facts in recoveries(told, 10.0)] == [(30, 3), (33, 0)]


def test_a_recovery_in_which_no_rank_at_work_died_says_why_it_was() -> None:
    of = {"dead": [], "policy": "rejoin", "ranks": 4, "joined": [], "seconds": 0.5, "back_to": 9, "step": 9}
    told = [of | {"at": 11.0, "cause": "new processes did not join"}, of | {"at": 12.0, "joined": [2], "cause": ""}]
    said = [in_words(facts).partition(", ")[0] for facts in recoveries(told, 10.0)]
    assert said == ["new processes did not join in step 9", "rank 2 joined in step 9"]


def test_a_place_that_was_left_and_later_lost_is_said_to_be_so() -> None:
    died = {"dead": [2], "policy": "respawn", "ranks": 4, "joined": [2], "seconds": 0.5}
    told = [died | {"at": at, "step": step, "back_to": step} for at, step in ((11.0, 4), (13.0, 9), (15.0, 20))]
    told += [{"left": 2, "at": 11.2}, {"left": 2, "at": 15.1}]
    assert [facts["left"] for facts in recoveries(told, 10.0)] == [True, False, True]


def test_a_recovery_from_a_stop_counts_from_the_stop() -> None:
    of = {"policy": "shrink", "seconds": 0.25, "back_to": 4, "at": 20.0}
    told = [of | {"dead": [3], "step": 4, "ranks": 4}, of | {"dead": [1, 2], "step": 8, "ranks": 2, "at": 30.0}]
    first, both = Process(rank=1, code=-9, stopped_at=26.0, at=29.9), Process(rank=2, code=-9, stopped_at=27.0, at=30.1)
    said = [list(map(in_words, recoveries(told, 10.0, processes=stopped)))[1] for stopped in ([first], [first, both])]
    rest = "in step 8, 16.0 s after the start: shrink, 2 ranks went on after 4.25 s, 4 steps done again"
    assert said == [f"ranks 1, 2 died or were stopped {rest}", f"ranks 1, 2 were stopped {rest}"]
    (alone,) = recoveries([{"dead": [1], "at": 30.0, "ranks": 2}], 10.0, processes=[first])
    assert in_words(alone) == "rank 1 was stopped, 16.0 s after the start: the other 2 went on without"


def test_success_is_a_rank_at_the_end_and_none_that_failed_behind_the_loop() -> None:
    for said, well in (
        ([], False),
        ([outcome.LEFT, outcome.BEGAN], True),  # a rank was killed in the loop
        ([outcome.LEFT, outcome.FAILED], True),  # and one failed there
        ([outcome.LEFT, outcome.REACHED], False),
        ([outcome.LEFT, outcome.UNDONE], False),
        ([outcome.BEGAN], False),
    ):
        assert outcome.succeeded(said) == well
