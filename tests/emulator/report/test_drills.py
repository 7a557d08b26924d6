"""Reports of drills and campaigns say what died, what it cost and what failed."""

import pytest

from emulator import results
from emulator.report.model import Detail, Text
from emulator.report.views import campaigns, drill, timeline, view
from tests.emulator.report.made import DRILL, a_result, lines_of, printed


def test_a_drill_is_told_from_its_file_alone(tmp_path):
    command = ["python", "-m", "faults", "drill", "ring", "--fault", "kill 2 @ step 5"]
    results.save(a_result(demo="faults", command=command, drill=DRILL), tmp_path / "result.json")
    lines = lines_of(results.load(tmp_path))
    assert "python -m faults drill ring --fault 'kill 2 @ step 5'" in lines
    for line in (
        f"detect 0 s 12.0 ms {24 * '█'} until the first survivor learns of it",
        f"replay 15.0 ms 5.00 ms {10 * '█'} until the interrupted step is complete",
        "total 20.0 ms",
        "recovery: 20.0 ms, 2 more steps done again",
        "steps per second: 400 before, 500 after",
        "ok deaths [2] as injected",
        "FAILED commits 39 of 40",
        "recovered ring by shrink: 4 ranks, 3 after",
    ):
        assert line in lines, line


def test_a_drill_that_failed_says_where_and_medians_are_called_so():
    spread = {"median": 0.02, "ci95": [0.01, 0.03], "n": 6}
    failed = {**DRILL, "outcome": "failed", "failed_at": {"phase": "agree", "why": "silence"}, "repeats": [{}] * 6}
    failed |= {"recovery_spread": spread, "phases_spread": {"detect": {"median": 0.012, "ci95": None, "n": 6}}}
    lines = lines_of(a_result(demo="faults", drill=failed))
    assert "phases over 6 repeats: detect median 12.0 ms of 6" in lines
    assert "recovery: median 20.0 ms [10.0 ms, 30.0 ms] of 6, 2 more steps done again" in lines
    assert "not recovered ring by shrink: 4 ranks, 3 after; at phase agree: silence" in lines


def test_matrix_alarms_and_trace_are_tables():
    cell = {"pattern": "ring", "recovery": "shrink", "fault": "kill", "outcome": "recovered", "why": None}
    matrix = [{**cell, "drill": DRILL}, {**cell, "fault": "two", "outcome": "refused", "why": "too few", "drill": None}]
    sighting = {"detector": "phi", "situation": "kill", "limit_seconds": 0.2, "wrong": None}
    alarms = [
        {**sighting, "detection_seconds": 0.1, "false_alarms": []},
        {**sighting, "situation": "crowd", "detection_seconds": None, "false_alarms": [3]},
    ]
    run = {"policy": "shrink", "mtbf_s": None, "goodput": 0.99, "failures": 0, "wrong": ""}
    trace = {
        "runs": [run, {**run, "mtbf_s": 2.0, "goodput": 0.875, "failures": 3}],
        "crossovers": [{"mtbf_s": 1.5, "rare": "spare", "frequent": "shrink"}],
        "intervals": None,
    }
    lines = [
        line
        for demo, parts in {"matrix": matrix, "alarms": alarms, "trace": trace}.items()
        for line in lines_of(a_result(demo=demo, **{demo: parts}))
    ]
    for line in (
        "ring",
        "fault shrink",
        "kill 20.0 ms -2 (3)",
        "two -",
        "not run (-) ring by shrink, two: too few",
        "1 of 1 drills survived",
        "phi 100 ms 1 false",
        "shrink 99.0% (0) 87.5% (3)",
        "above an MTBF of 1.50 s spare is ahead of shrink, below it shrink",
    ):
        assert line in lines, line


def test_a_job_of_the_matrix_that_meets_no_fault_at_all_is_named_once() -> None:
    cells = [
        {"pattern": "ring", "recovery": policy, "fault": fault, "outcome": "refused", "why": why, "drill": None}
        for policy, fault, why in (
            ("respawn", "middle", "no"), ("respawn", "two", "no"), ("spare", "two", "no"), ("spare", "host", "else"),
        )
    ]  # fmt: skip
    items = [one.item if isinstance(one, Detail) else one for one in campaigns.matrix({"matrix": cells})]
    told = [one.text for one in items if isinstance(one, Text) and "not run" in one.text]
    assert told == ["  not run (-) ring by respawn; ring by spare, two: no", "  not run (-) ring by spare, host: else"]


@pytest.mark.parametrize(
    ("demo", "parts"),
    [
        ("faults", {"drill": DRILL}),
        ("matrix", {"matrix": []}),
        ("soak", {"soak": {"kills": 3, "launches": 1, "hangs": 0, "wrong": 0, "leftovers": 0, "failed": [],
                           "recoveries": [], "failure_rate_below": None}}),
    ],
)  # fmt: skip
def test_what_simulated_jobs_were_told_is_said_with_their_result(demo, parts):
    given = "given, not simulated: detect 6.00 ms"
    assert printed(view(a_result(demo=demo, given=given, **parts))).count(given) == 1
    assert "given" not in printed(view(a_result(demo=demo, **parts)))


def test_a_recovery_that_took_no_time_has_no_bars():
    table = drill.timeline({"phases": dict.fromkeys(("detect", "replay"), 0.0)})
    assert {row[3] for row in table.rows} == {""}


def test_a_fault_that_strikes_several_ranks_is_said_once():
    text = "cut 0-1|2-3 @ step 10 for 2s"
    deaths = [{"at": at, "text": text, "place": place} for at, place in ((0.0, 3), (3e-7, 2))]
    episode = {"phases": dict.fromkeys(("detect", "replay"), 1e-3), "deaths": deaths}
    assert drill.timeline(episode).title == f"0 s: {text} (ranks 2, 3)"
    faults = [{"rank": rank, "at": at, "text": text} for rank, at in ((2, 0.5), (2, 0.5), (3, 0.5), (3, 0.7))]
    found = {
        "clock": "wall", "seconds": 1.0, "events": 8, "dropped": 0, "ranks": [], "path": {}, "steps": [],
        "faster": {"seconds": 1.0, "half_alpha": 1.0, "half_beta": 1.0, "instant": 1.0}, "faults": faults,
    }  # fmt: skip
    assert list(timeline.view(found))[-2:] == [f"500.0 ms: ranks 2, 3: {text}", f"700.0 ms: rank 3: {text}"]
