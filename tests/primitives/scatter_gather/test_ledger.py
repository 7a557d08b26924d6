"""The ledger, without messages: whatever happens to workers and attempts, each task has exactly one outcome."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.errors import UsageError
from primitives.scatter_gather.ledger import Ledger
from primitives.scatter_gather.outcome import Journal, Outcome

EVENTS = ("take", "backup", "finish", "finish", "raise", "drop", "die", "echo")


def _outcome(task: int, rank: int, ok: bool = True) -> Outcome:
    return Outcome(task, task * task if ok else None, None if ok else "ValueError", rank, 1, 0.0)


def _act(ledger: Ledger, event: str, data: st.DataObject, instant: int) -> None:
    """Let one thing happen, if it can."""
    out = [(rank, task) for rank, tasks in ledger.out.items() for task in tasks]
    ranks = list(ledger.out)
    if event == "take" and ranks:
        ledger.take(data.draw(st.sampled_from(ranks)), data.draw(st.integers(1, 4)), instant)
    elif event == "backup" and ranks:
        older_than = data.draw(st.integers(0, 5))
        ledger.backup(data.draw(st.sampled_from(ranks)), instant, ledger.overdue(instant, older_than))
    elif event == "die" and len(ranks) > 1:
        ledger.lost(data.draw(st.sampled_from(ranks)))
    elif event == "echo" and ledger.order:  # a duplicate of a result that was booked long ago
        rank = data.draw(st.integers(1, 5))
        ledger.finished(rank, [_outcome(data.draw(st.sampled_from(ledger.order)), rank)])
    elif out:
        rank, task = data.draw(st.sampled_from(out))
        if event == "finish":
            ledger.finished(rank, [_outcome(task, rank)])
        elif event == "raise":
            ledger.raised(_outcome(task, rank, ok=False))
        elif event == "drop":
            ledger.dropped(task, rank)


def _finish(ledger: Ledger) -> None:
    """Let the living workers do all that is left."""
    while not ledger.settled:
        for rank in list(ledger.out):
            ledger.take(rank, 2, 0.0)
            for task in list(ledger.out[rank]):
                ledger.finished(rank, [_outcome(task, rank)])


@settings(max_examples=150, deadline=None)
@given(
    tasks=st.integers(0, 12),
    workers=st.integers(1, 5),
    replicas=st.none() | st.integers(1, 3),
    retries=st.integers(0, 2),
    steps=st.lists(st.sampled_from(EVENTS), max_size=60),
    data=st.data(),
)
def test_every_task_ends_once(tasks, workers, replicas, retries, steps, data):
    """After any history: one outcome per task that somebody alive may run, right values, nothing waiting or out."""
    ranks = list(range(1, workers + 1))
    where = None
    if replicas is not None:
        copies = min(replicas, workers)
        where = [{ranks[(task + copy) % workers] for copy in range(copies)} for task in range(tasks)]
    ledger = Ledger(tasks, ranks, where=where, retries=retries)
    seen: list[int] = []
    ledger.journal.watch(lambda outcome: seen.append(outcome.task))
    for instant, event in enumerate(steps):
        _act(ledger, event, data, instant)
        out = {task for held in ledger.out.values() for task in held}
        unaccounted = set(range(tasks)) - set(seen) - out - ledger.impossible
        assert ledger.waiting == len(unaccounted)
    _finish(ledger)
    assert sorted(seen) == sorted(set(seen)) == sorted(ledger.order)
    for task in ledger.journal.missing(tasks):
        assert where is not None
        assert not where[task] & set(ledger.out)
    for outcome in ledger.journal:
        assert outcome.value == outcome.task**2 if outcome.ok else outcome.error is not None
        assert outcome.attempts <= retries + 1 + workers
    assert ledger.succeeded == sum(outcome.ok for outcome in ledger.journal)


def test_retries_are_bounded():
    """A task that always raises gets retries + 1 attempts and keeps its last traceback."""
    ledger = Ledger(1, [1], retries=2)
    attempts = 0
    while not ledger.settled:
        assert ledger.take(1, 1, 0.0) == [0]
        attempts += 1
        ledger.raised(Outcome(0, None, f"attempt {attempts}", 1, 1, 0.0))
    assert attempts == 3
    assert ledger.journal[0].error == "attempt 3"
    assert ledger.journal[0].attempts == 3


def test_a_task_that_kills_its_workers_is_given_up():
    """It takes deaths + 1 workers with it and no more; the other task is done."""
    ledger = Ledger(2, range(1, 6), deaths=2)
    ledger.take(5, 2, 0.0)
    ledger.dropped(0, 5)
    for rank in (1, 2, 3):
        assert ledger.take(rank, 1, 0.0) == [0]
        ledger.lost(rank)
    assert "workers died" in ledger.journal[0].error
    _finish(ledger)
    assert ledger.journal[1].ok


def test_backup_takes_the_oldest_task_of_another_worker():
    """Not its own, not one with two attempts, not one that is young; the loser is named for cancelling."""
    ledger = Ledger(3, [1, 2])
    ledger.take(1, 1, 0.0)
    ledger.take(1, 1, 1.0)
    ledger.take(2, 1, 1.0)
    overdue = ledger.overdue(10.0, 9.5)
    assert ledger.backup(1, 10.0, overdue) == []
    assert ledger.next_backup({2}, 9.5) == 9.5
    assert ledger.backup(2, 10.0, overdue) == [0]
    assert ledger.backup(2, 10.0, overdue) == []
    assert ledger.finished(2, [_outcome(0, 2)]) == [(1, 0)]
    assert ledger.finished(1, [_outcome(0, 1)]) == []
    assert (ledger.counts.backups, ledger.counts.duplicates) == (1, 1)


def test_a_successor_runs_only_what_the_journal_lacks():
    """The journal travels as bytes."""
    journal = Journal()
    for task in (0, 3):
        journal.record(_outcome(task, 1))
    ledger = Ledger(5, [1, 2], journal=Journal.loads(journal.dumps()))
    assert ledger.take(1, 9, 0.0) == [1, 2, 4]


@pytest.mark.parametrize(
    ("options", "rule"), [({"retries": -1}, "retries must be >= 0"), ({"where": [{1}]}, "one entry for each")]
)
def test_bad_input(options, rule):
    """One line with the rule."""
    with pytest.raises(UsageError, match=rule):
        Ledger(2, [1], **options)


def test_backup_goes_to_an_owner_of_the_task():
    """Of what is overdue a worker gets the oldest that it may run; one that may run none gets none."""
    ledger = Ledger(2, [1, 2, 3], where=[{1, 2}, {1, 3}])
    assert ledger.take(1, 1, 0.0) == [0]
    assert ledger.take(1, 1, 1.0) == [1]
    assert ledger.next_backup({3}, 5.0) == 6.0
    assert ledger.next_backup({2, 3}, 5.0) == 5.0
    overdue = ledger.overdue(6.0, 5.0)
    assert [task for _, task, _ in overdue] == [0, 1]
    assert ledger.backup(3, 6.0, overdue) == [1]
    assert ledger.backup(3, 6.0, overdue) == []
    assert ledger.next_backup({3}, 5.0) == float("inf")


def test_a_task_that_its_worker_has_lost_meanwhile_gets_no_backup():
    """What was overdue when the coordinator began to hand out work may wait again when its turn comes."""
    ledger = Ledger(1, [1, 2])
    ledger.take(1, 1, 0.0)
    overdue = ledger.overdue(6.0, 5.0)
    ledger.lost(1)
    assert ledger.backup(2, 6.0, overdue) == []
    assert ledger.take(2, 1, 6.0) == [0]
