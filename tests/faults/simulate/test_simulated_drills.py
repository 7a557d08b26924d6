"""Drills on simulated ranks: the policies' own code, the checks of a drill, the same result as that of real ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import UsageError
from emulator.policies import POLICIES, Policy
from emulator.trace import loading
from faults.drill import drill
from faults.drill.checks import Evaluation
from faults.drill.request import Request
from faults.launch.supervise import Finished
from faults.record.journal import What


def run(
    folder: Path, *lines: str, pattern: str = "ring", ranks: int = 6, **options: Any
) -> tuple[Finished, Evaluation]:
    spec = Request(pattern, ranks, lines, simulate=True, **options).spec()
    return drill.launch_once(spec, folder, None)  # type: ignore[arg-type]


RECOVERED = [
    ("ring", "shrink", ["kill 3 @ step 20"], 5),
    ("ring", "shrink", ["kill 3 @ step 20 phase all_gather + 10 us"], 5),
    ("ring", "shrink", ["kill 3 @ step 20", "kill 0 @ recovery"], 4),
    ("ring", "shrink", ["kill 3 @ step 20", "kill 1 @ phase rebuild"], 4),
    ("ring", "shrink", ["kill 0 @ step 39"], 5),
    ("ring", "shrink", ["kill 1-5 @ step 20"], 1),
    ("ring", "shrink", ["kill 2 @ time 20 ms"], 5),
    ("ring", "shrink", ["kill host 1 @ step 20"], 3),
    ("ring", "shrink", ["hang 3 @ step 20"], 5),
    ("ring", "shrink", ["hang 3 @ step 20 for 100 ms"], 6),
    ("ring", "shrink", ["slow 3 @ step 20 by 4"], 6),
    ("ring", "shrink", ["cut 0-2|3-5 @ step 12 for 50 ms"], 6),
    ("ring", "shrink", ["lose 3 @ step 12 by 5 %"], 6),
    ("ring", "shrink", ["preempt 3 @ step 20"], 5),
    ("ring", "spare", ["kill 3 @ step 20"], 6),
    ("ring", "spare", ["kill 0 @ step 20", "kill 2 @ phase restore"], 5),
    ("ring", "respawn", ["kill 3 @ step 20"], 6),
    ("ring", "respawn", ["kill 0 @ step 20", "kill 0 @ step 25", "kill 3 @ phase respawn"], 6),
    ("ring", "respawn", ["kill 3 @ step 20", "kill 1 @ recovery + 140 ms"], 6),  # while the new rank connects
    ("ring", "respawn", ["kill 3 @ step 20", "kill 0 @ recovery + 50 ms"], 6),  # the rank that starts the new one
    ("ring", "respawn", ["hang 2-4 @ time 20 ms", "kill 3 @ time 425 ms"], 6),  # the rank that took the place
    ("ring", "respawn", ["kill 1 @ step 17", "kill 5 @ phase replay"], 6),  # the new rank meets an error at once
    ("ring", "rejoin", ["kill 3 @ step 20"], 6),
    ("ring", "rejoin", ["kill 2 @ step 10", "kill 4 @ time 150 ms"], 5),  # while the new rank joins
    ("ring", "rejoin", ["kill 2-3 @ step 10", "kill 0 @ step 11", "kill 1 @ phase restore"], 5),  # no step is left
    ("ring", "restart", ["kill 3 @ step 20"], 6),
    ("parameter-server", "continue", ["kill 3 @ step 20"], 5),
    ("parameter-server", "replicate", ["kill 0 @ step 20"], 5),
    ("gossip", "continue", ["kill 3 @ step 20"], 5),
    ("scatter-gather", "reexecute", ["kill 3 @ step 12"], 5),
    ("scatter-gather", "reexecute", ["kill 0 @ step 12"], 5),
    ("federated", "continue", ["kill 3 @ step 12"], 5),
]


@pytest.mark.parametrize(("pattern", "policy", "lines", "after"), RECOVERED)
def test_a_job_recovers_and_its_result_is_right(
    tmp_path: Path, pattern: str, policy: str, lines: list[str], after: int
) -> None:
    hosts = 2 if "host" in lines[0] else None
    steps = 60 if pattern == "gossip" else None  # until few survivors agree
    _, found = run(tmp_path / "job", *lines, pattern=pattern, recovery=policy, hosts=hosts, steps=steps)
    assert found.recovered, f"{found.phase}: {found.reason}"
    assert found.ranks_after == after


@pytest.mark.parametrize("policy", [policy for policy in POLICIES.values() if policy.repairs], ids=lambda one: one.name)
def test_a_timeline_shows_a_repair_as_recovery(tmp_path: Path, policy: Policy) -> None:
    """The phases of a recovery are those that the policy names; in the replay the rank does the program's work."""
    (pattern,) = policy.patterns
    run(tmp_path / "job", "kill 3 @ step 4", pattern=pattern, recovery=policy.name, steps=12, trace=True)
    phases = loading.load(tmp_path / "job").ranks[0].phases()
    of_recovery = set(policy.points) - {"replay"}
    assert of_recovery <= {phase.name for phase in phases}
    assert [phase for phase in phases if phase.recovery != (phase.name in of_recovery)] == []


def test_the_phases_are_those_that_the_model_was_given(tmp_path: Path) -> None:
    finished, found = run(tmp_path / "job", "kill 3 @ step 20", recovery="shrink")
    costs = finished.spec.costs
    assert found.phases["detect"] == pytest.approx(costs.detect_s, rel=1e-9)
    assert found.phases["agree"] == pytest.approx(costs.revoke_s + costs.agree_s, rel=1e-9)  # one round
    assert 0 < found.phases["replay"] < 2 * costs.work_s


def test_a_new_rank_starts_when_the_model_says_on_the_host_of_its_place(tmp_path: Path) -> None:
    finished, found = run(tmp_path / "job", "kill 3 @ step 20", "kill 3 @ step 30", recovery="respawn")
    costs = finished.spec.costs
    started = {r["member"]: r for r in finished.records if r["what"] == What.STARTED}
    assert [started[member]["host"] for member in (6, 7)] == ["host3", "host3"]
    agreed = min(r["at"] for r in finished.records if r["what"] == What.AGREED)
    shrunk = agreed + 2 * costs.agree_s + costs.shrink_s + costs.calm_agree_s
    assert started[6]["at"] == pytest.approx(shrunk + costs.start_s, rel=1e-9)
    assert found.phases["rebuild"] > 2 * (costs.start_s + costs.join_s)


def test_a_rank_that_stands_still_while_others_accept_is_named(tmp_path: Path) -> None:
    lines = ["kill 3 @ step 20", "hang 1 @ recovery + 50 ms"]
    _, found = run(tmp_path / "job", *lines, recovery="respawn", detector="runtime", steps=30)
    assert not found.recovered
    assert found.phase == "rebuild"
    for words in ("deadlock", "rank 1 is stopped;", "rank 0 waits for rank 1"):
        assert words in found.reason


@pytest.mark.parametrize("policy", ["spare", "respawn"])
def test_a_cut_takes_the_rank_that_holds_the_place_by_then(tmp_path: Path, policy: str) -> None:
    lines = ["kill 3 @ step 10", "cut 3|0-2,4-5 @ step 37 for 50 ms"]
    whole, cut = (run(tmp_path / f"{n}", *lines[:n], recovery=policy, net="10gbe") for n in (1, 2))
    assert cut[1].recovered, f"{cut[1].phase}: {cut[1].reason}"
    assert cut[1].seconds - whole[1].seconds == pytest.approx(0.05, rel=0.05)


def test_ranks_without_a_quorum_stop_after_as_many_simulated_seconds_as_they_were_given(tmp_path: Path) -> None:
    finished, found = run(tmp_path / "job", "cut 0-2|3-5 @ step 10 for 2s", net="10gbe", quorum_s=0.2)
    assert found.recovered, f"{found.phase}: {found.reason}"
    assert found.ranks_after == 3
    assert found.phases["detect"] == pytest.approx(0.2 + finished.spec.costs.detect_s, rel=1e-3)


def test_a_fault_that_is_due_after_the_end_of_the_job_does_not_happen_and_keeps_no_job(tmp_path: Path) -> None:
    (without, _), (late, found) = run(tmp_path / "without"), run(tmp_path / "late", "kill 3 @ time 1 h")
    assert not found.fired[0]["fired"]
    assert late.ended == without.ended


def test_two_runs_leave_the_same_journals(tmp_path: Path) -> None:
    one, two = (
        run(tmp_path / name, "kill 3 @ step 20", "kill 1 @ recovery", recovery="spare")[0] for name in ("one", "two")
    )
    assert one.records == two.records


@pytest.mark.parametrize(
    ("options", "why", "waits"),
    [
        ({}, "deadlock", "rank 0 waits for a message from rank"),
        ({"agree": 1}, "the deadline of 120 s passed", "rank 0 waits for rank 3 in an agreement of the survivors"),
    ],
)
def test_a_hang_that_no_detector_notices_ends_and_says_who_waits_for_whom(
    tmp_path: Path, options: dict[str, int], why: str, waits: str
) -> None:
    line = "hang 3 @ step 5 phase agree" if options else "hang 3 @ step 5"
    _, found = run(tmp_path / "job", line, recovery="shrink", detector="runtime", options=options, steps=10)
    assert not found.recovered
    assert found.phase == "detect"
    for words in (why, "rank 3 is stopped;", waits):
        assert words in found.reason


def test_a_dead_rank_does_nothing_more(tmp_path: Path) -> None:
    finished, _ = run(tmp_path / "job", "kill 3 @ step 20", recovery="shrink")
    last = [r["what"] for r in finished.records if r["member"] == 3][-1]
    assert last == What.FAULT
    results = [json.loads(path.read_text())["member"] for path in (tmp_path / "job" / "results").iterdir()]
    assert sorted(results) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ranks": 10**8}, "simulate fewer ranks"),
        ({"recovery": "restart", "checkpoint": {"background": True}}, "simulated ranks have no threads"),
        ({"faults": ["hang 2 @ step 3"], "detector": "swim"}, "--detector swim is a thread of each rank"),
    ],
)
def test_what_is_not_simulated_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Request(simulate=True, **options).spec()
