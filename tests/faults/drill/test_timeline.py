"""Phases and checks from journals that are written down here by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from faults.drill import phase_checks, timeline
from faults.drill.checks import evaluate
from faults.drill.job_spec import JobSpec
from faults.launch.supervise import Finished
from faults.launch.watchdog import Ending
from faults.patterns.catalogue import CATALOGUE
from faults.plan.events import resolve
from faults.plan.grammar import parse

STEPS = 4


def record(at: float, what: str, member: int, **fields) -> dict:
    return {"at": at, "what": what, "member": member, "attempt": fields.pop("attempt", 0), **fields}


def shrunk() -> list[dict]:
    """Three ranks, of which 2 dies in step 1; the survivors need 0.6 s to complete it."""
    records = [record(0.0, "started", m) for m in range(3)]
    records += [record(0.5, "commit", m, step=0) for m in range(3)]
    records.append(record(0.99, "fault", 2, event="0.2", text="kill 2 @ step 1", kind="kill", due=1.0, place=2))
    for member in range(2):
        lag = member * 0.01
        records += [
            record(1.1 + lag, "noticed", member, step=1),
            record(1.2 + lag, "agreed", member, alive=[0, 1]),
            record(1.3 + lag, "rebuilt", member, places=[0, 1], coordinator=0),
            record(1.4 + lag, "restored", member, step=1),
        ]
        records += [record(1.6 + step - 1 + lag, "commit", member, step=step) for step in range(1, STEPS)]
        records.append(record(9.0, "left", member))
    return sorted(records, key=lambda r: r["at"])


def finished(records: list[dict], *, fenced: dict[int, float] | None = None, leftovers: int = 0) -> Finished:
    spec = JobSpec("ring", 3, steps=STEPS, recovery="shrink", events=resolve([parse("kill 2 @ step 1")], 3))
    results = [{"member": m, "place": m, "attempt": 0} for m in (0, 1)]
    records = [*records, record(9.5, "ended", 999, ended=9.4)]
    ending = Ending(0, 9.4, fenced=fenced or {}, leftovers=leftovers)
    return Finished(spec, Path(), [ending], results, records, [1.0], 0.0, 9.4, leftovers)


@pytest.fixture(autouse=True)
def result(monkeypatch) -> list[tuple[bool, str]]:
    """What the oracle says; the last one counts."""
    said = [(True, "as it should be")]
    ring = replace(CATALOGUE["ring"], matches=lambda spec, folder, results: said[-1])
    monkeypatch.setitem(CATALOGUE, "ring", ring)
    return said


def test_each_survivor_has_phases_up_to_its_own_completed_step_and_the_dead_have_none() -> None:
    known_later = [r | {"at": r["at"] + 5, "done": r["at"]} if r["what"] == "commit" else r for r in shrunk()]
    (episode,) = timeline.episodes(sorted(known_later, key=lambda r: r["at"]))
    rows = {row["process"]: row["phases"] for row in episode.to_json(1.0)["ranks"]}
    assert list(rows) == [0, 1, 2]
    assert rows[2] == {}
    for member in (0, 1):
        assert list(rows[member]) == list(episode.phases)
        assert sum(rows[member].values()) == pytest.approx(0.6 + 0.01 * member)
        assert rows[member]["detect"] == pytest.approx(0.1 + 0.01 * member)
        assert rows[member]["replay"] == pytest.approx(0.2)


def test_the_phases_lie_end_to_end_from_the_death_to_the_completed_step() -> None:
    (episode,) = timeline.episodes(shrunk())
    assert episode.phases == pytest.approx(
        {"detect": 0.1, "agree": 0.11, "rebuild": 0.1, "restore": 0.1, "replay": 0.2}
    )
    assert episode.seconds == pytest.approx(0.61)
    assert (episode.step, episode.lost_steps, episode.coordinator) == (1, 0, 0)


def test_a_second_death_before_the_step_is_complete_belongs_to_the_same_recovery() -> None:
    records = shrunk()
    records.append(record(1.15, "fault", 7, event="1.7", text="kill 7 @ recovery", kind="kill", due=1.2, place=7))
    (episode,) = timeline.episodes(records)
    assert [death.member for death in episode.deaths] == [2, 7]


def apart() -> list[dict]:
    """As `shrunk`, but a commit is known with the next step only, and rank 0, told first, was in step 2 already."""
    records = []
    for r in shrunk():
        if r["what"] == "commit":
            if r["member"] == 2:
                continue  # it was dead by then
            r = r | {"done": r["at"], "at": r["at"] + 0.9}
        elif r["what"] == "noticed" and r["member"] == 0:
            r = r | {"step": 2}
        records.append(r)
    return sorted(records, key=lambda r: r["at"])


def test_a_step_is_complete_when_it_was_finished_and_the_one_of_those_behind_is_what_was_interrupted() -> None:
    (episode,) = timeline.episodes(apart())
    assert (episode.step, episode.lost_steps) == (1, 0)
    assert episode.seconds == pytest.approx(0.61)
    assert episode.phases["replay"] == pytest.approx(0.2)
    assert timeline.throughput(apart(), [episode])["after"] == pytest.approx(1.0)
    assert evaluate(finished(apart())).recovered


def test_the_death_of_a_spare_belongs_to_the_recovery_in_which_it_is_missed() -> None:
    idle = record(0.2, "fault", 3, event="1.3", text="kill 3 @ step 0", kind="kill", due=0.2, place=3, waiting=True)
    (episode,) = timeline.episodes([idle, *shrunk()])
    assert [death.member for death in episode.deaths] == [3, 2]
    assert episode.seconds == pytest.approx(0.61)


def test_the_death_of_a_spare_that_nobody_missed_is_no_recovery() -> None:
    idle = record(5.0, "fault", 3, event="1.3", text="kill 3 @ step 3", kind="kill", due=5.0, place=3, waiting=True)
    assert len(timeline.episodes([*shrunk(), idle])) == 1
    assert len(timeline.episodes([*shrunk(), idle, record(6.0, "noticed", 0, step=STEPS)])) == 1


def test_a_timer_that_came_too_late_did_not_fire() -> None:
    records = [record(0.0, "started", 0), record(2.0, "left", 0)]
    late = record(1.9, "fault", 0, event="0.0", text="kill 0", kind="kill", due=2.5, place=0)
    assert timeline.struck([*records, late]) == {}
    assert timeline.deaths([*records, late]) == []


def test_a_hang_that_woke_up_fired_and_is_no_death() -> None:
    woken = record(1.0, "fault", 0, event="0.0", text="hang 0 for 1s", kind="hang", due=1.0, place=0)
    records = [record(0.0, "started", 0), woken, record(5.0, "left", 0)]
    assert timeline.struck(records) == {"0.0": 1.0}
    assert timeline.deaths(records) == []


def test_a_restart_loses_the_steps_since_its_checkpoint() -> None:
    records = [record(0.0, "commit", 0, step=step) for step in range(3)]
    records += [
        record(1.0, "fault", 0, event="0.0", text="kill 0 @ step 3", kind="kill", due=1.0, place=0),
        record(1.5, "noticed", 999),
        record(2.0, "restored", 0, step=2, attempt=1),
        record(2.5, "commit", 0, step=2, attempt=1),
        record(3.0, "commit", 0, step=3, attempt=1),
    ]
    (episode,) = timeline.episodes(records)
    assert (episode.step, episode.lost_steps) == (3, 1)
    assert episode.ended == 3.0


def test_a_recovery_as_it_should_be_passes_every_check() -> None:
    evaluation = evaluate(finished(shrunk()))
    assert {name for name, (ok, _) in evaluation.checks.items() if not ok} == set()
    assert evaluation.recovered
    assert evaluation.ranks_after == 2


def broken(records: list[dict], **options) -> set[str]:
    evaluation = evaluate(finished(records, **options))
    assert not evaluation.recovered
    return {name for name, (ok, _) in evaluation.checks.items() if not ok}


def test_what_several_set_to_strike_struck_the_last_of_them() -> None:
    """A restart's first launch did not live to see it; a spare sets anew what was meant for the rank it replaces."""
    fault = {"what": "fault", "event": "0.0", "kind": "kill", "text": "kill 1 @ time 2 s", "due": 2.0, "place": 1}
    ended = {"what": "ended", "member": 999, "attempt": 0, "at": 1.6, "ended": 1.5}
    launches = [fault | {"at": 0.5, "member": 1, "attempt": 0}, ended, fault | {"at": 1.8, "member": 1, "attempt": 1}]
    assert [(d.member, d.attempt) for d in timeline.deaths(launches)] == [(1, 1)]
    places = [fault | {"at": 0.5, "member": 1, "attempt": 0}, fault | {"at": 1.2, "member": 4, "attempt": 0}]
    assert [(d.member, d.at) for d in timeline.deaths(places)] == [(4, 2.0)]
    before = fault | {"event": "1.0", "at": 0.5, "due": 1.0, "member": 1, "attempt": 0}
    assert timeline.struck([before, places[0]]) == {"1.0": 1.0}  # nobody took the place before the second was due


def test_what_was_written_when_it_had_happened_struck_although_the_launcher_saw_the_end_of_it_before() -> None:
    """A dying host's last rank stamps all of its deaths, when the launcher may have missed the first of them."""
    fault = {"what": "fault", "event": "0.0", "kind": "kill", "text": "kill 1 @ step 1", "due": 2.0, "place": 1}
    ended = {"what": "ended", "member": 999, "attempt": 0, "at": 1.999, "ended": 1.99}
    written = fault | {"at": 2.0, "member": 1, "attempt": 0}
    assert timeline.struck([ended, written]) == {"0.0": 2.0}
    assert timeline.struck([ended, written | {"at": 1.9}]) == {}  # by a timer, of which nobody knows


def test_a_step_committed_twice_is_found() -> None:
    twice = [*shrunk(), record(2.7, "commit", 0, step=2)]
    assert broken(sorted(twice, key=lambda r: r["at"])) == {"commits"}


def test_a_missing_step_is_found() -> None:
    assert broken([r for r in shrunk() if r.get("step") != 3]) == {"commits"}


def test_a_commit_of_a_dead_rank_is_found() -> None:
    zombie = [*shrunk(), record(1.5, "commit", 2, step=1)]
    assert broken(sorted(zombie, key=lambda r: r["at"])) == {"commits"}


def test_a_silent_crash_is_found() -> None:
    assert broken([r for r in shrunk() if (r["what"], r["member"]) != ("left", 1)]) == {"deaths"}


def test_a_crash_says_its_last_words_and_one_of_mpirun_that_it_was_its_own(tmp_path) -> None:
    (tmp_path / "output.txt").write_text("Traceback\nValueError: no\n\n")
    silent = finished([r for r in shrunk() if (r["what"], r["member"]) != ("left", 1)])
    silent.folder = tmp_path
    assert "injected were [2]: ValueError: no (" in evaluate(silent).reason
    lost = finished([r for r in shrunk() if r["what"] not in ("left", "commit")])
    lost.results.clear()
    lost.endings[0].status = -11
    assert "mpirun itself crashed (SIGSEGV)" in evaluate(lost).reason


def test_a_job_that_was_ended_stopped_in_the_phase_that_it_was_in_by_then() -> None:
    """What the ranks do while the launcher kills them one after the other is no part of it."""
    stuck = finished([r for r in shrunk() if r["what"] not in ("left", "commit") and r["at"] < 1.29])
    stuck.results.clear()
    for ended, phase in ((1.09, "detect"), (1.15, "agree"), (9.4, "rebuild")):
        stuck.endings[0] = Ending(1, ended, why="nothing moved for 2 s")
        assert (evaluate(stuck).phase, evaluate(stuck).reason) == (phase, "nothing moved for 2 s")


def test_a_fault_that_did_not_fire_fails_the_drill() -> None:
    survivor = [r for r in shrunk() if r["what"] != "fault"] + [record(9.0, "left", 2)]
    assert "faults fired" in broken(survivor)


def test_leftovers_fail_the_drill() -> None:
    assert broken(shrunk(), leftovers=1) == {"leftovers"}


def at(records: list[dict], member: int, what: str, shift: float) -> list[dict]:
    """The journals with one rank's records of one kind at another time."""
    moved = [r | {"at": r["at"] + shift} if (r["member"], r["what"]) == (member, what) else r for r in records]
    return sorted(moved, key=lambda r: r["at"])


def told(records: list[dict]) -> list[dict]:
    """As a rank tells that an error brought it into the agreement."""
    return [r | {"how": "error 75"} if r["what"] == "noticed" else r for r in records]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (at(shrunk(), 1, "agreed", -0.105), "rank 1 went through agreed, noticed, rebuilt, restored"),
        (at(shrunk(), 0, "rebuilt", 0.15), "restore ends before it begins"),
        ([r for r in shrunk() if (r["member"], r["what"]) != (1, "agreed")], "rank 1 went through noticed, rebuilt"),
        ([r for r in shrunk() if (r["member"], r["what"]) != (0, "restored")], "rank 0 went through noticed, agreed"),
        ([r for r in shrunk() if r["what"] in ("commit", "fault", "left", "started") or r["member"] == 0],
         "rank 1 was there before and after, and in no phase of the recovery"),
        (told([r | {"at": r["at"] + 0.12} if r["member"] == 1 else r for r in shrunk()]),
         "rank 0 knew what all agreed on before rank 1 came to it with an error"),
        ([r | {"at": r["at"] + 7.9} if r["member"] == 1 and r["what"] != "left" else r for r in shrunk()],
         "outside of the time in which the launcher saw the job run"),
    ],
)  # fmt: skip
def test_a_clock_that_is_off_and_a_phase_that_is_missing_or_out_of_order_are_found(records, said: str) -> None:
    done = finished(sorted(records, key=lambda r: r["at"]))
    ok, why = phase_checks.check(done, timeline.episodes(done.records))
    assert not ok
    assert said in why


def test_the_instant_of_death_on_the_board_is_what_the_phases_begin_at() -> None:
    done = finished(shrunk())
    done.fired = [0.95]
    ok, why = phase_checks.check(done, timeline.episodes(done.records))
    assert (ok, why) == (False, "they add up to 0.610000 s, from death to the last stamp it is 0.660000 s")


def test_a_rank_that_wrote_in_another_order_than_its_clock_says_is_found() -> None:
    """What the records look like when they are sorted shows nothing; the lines of the file do."""
    done = finished([r | {"line": -i} for i, r in enumerate(shrunk())])
    assert "with a later time" in phase_checks.check(done, [])[1]


def test_a_repair_that_nobody_died_for_is_found() -> None:
    records = shrunk()
    again = [r | {"at": r["at"] + 1e-3} for r in records if r["what"] == "rebuilt" and r["member"] == 1]
    done = finished(sorted([*records, *again], key=lambda r: r["at"]))
    assert phase_checks.check(done, []) == (False, "rank 1 rebuilt the job 2 times after 1 deaths")
    for record in done.records:
        if record["what"] == "agreed":
            record["spoiled"] = [3]  # somebody had waited too long for the others, and called them in
    assert phase_checks.check(done, [])[0]


def test_a_recovery_as_it_should_be_holds_together() -> None:
    done = finished(told(shrunk()))
    assert phase_checks.check(done, timeline.episodes(done.records))[0]


def test_a_wrong_result_fails_the_drill_and_says_so(result) -> None:
    result.append((False, "the loss is off"))
    evaluation = evaluate(finished(shrunk()))
    assert (evaluation.recovered, evaluation.phase, evaluation.reason) == (False, "check", "result: the loss is off")


def test_a_join_counts_from_its_start_and_the_stop_from_the_boundary() -> None:
    records = [record(1.0, "grows", 0, step=1), record(2.0, "admits", 0, first=3, since=1.9)]
    records += [record(2.2 + member / 10, "joined", member, place=member - 1) for member in (3, 4)]
    records += [record(2.4 + member / 100, "restored", member) for member in (0, 1, 3)]
    records += [record(2.6 + member / 100, "commit", member, step=3) for member in (0, 1, 3)]  # 4 died as it joined
    (join,) = timeline.joins(records)
    assert (join.at, join.step, join.places) == (1.0, 3, [2])
    assert (join.seconds, join.stopped_s) == (pytest.approx(1.63), pytest.approx(0.53))
    assert join.text == "rank 2 joined at step 3, 1.63 s after its start: the others stopped 530 ms"
