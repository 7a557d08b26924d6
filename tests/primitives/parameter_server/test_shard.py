"""A shard under every schedule: workers are scripts, hypothesis is the network."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primitives.parameter_server import messages
from primitives.parameter_server.consistency import Consistency
from primitives.parameter_server.messages import Header
from primitives.parameter_server.placement import place
from primitives.parameter_server.shard import Shard
from primitives.parameter_server.table import Part, Table, combine
from primitives.parameter_server.updates import Add

SCHEDULES = st.fixed_dictionaries(
    {
        "workers": st.integers(1, 5),
        "iterations": st.integers(1, 6),
        "seed": st.integers(0, 10**6),
        "fused": st.booleans(),
    }
)


class Script:
    """A worker that pulls, checks, pushes `size` into its own row, and leaves after its iterations."""

    def __init__(self, rank: int, workers: int, iterations: int, size: float = 1.0, fused: bool = False) -> None:
        self.fused = fused  # push and the next pull in one message
        self.rank, self.workers, self.size = rank, workers, size
        self.sequence = 0
        self.outbox: deque[Any] = deque()
        self.reads: list[tuple[int, int, np.ndarray]] = []  # own clock, slowest, values
        self.clock, self.iterations, self.waiting = 0, iterations, False
        self.left = False

    def advance(self) -> None:
        """Emit the next messages, unless it waits for a reply."""
        if self.waiting or self.left:
            return
        if self.clock == self.iterations:
            self._send(messages.LEAVE)
        else:
            self.outbox.append(
                messages.pack(
                    Header(messages.PULL, worker=self.rank, clock=self.clock, seen=self.sequence, last=self.workers)
                )
            )
        self.waiting = True

    def answer(self, message: np.ndarray) -> None:
        """Take a reply; after a read, push."""
        header, body = messages.unpack(message)
        self.waiting = False
        if self.clock == self.iterations:
            self.left = True
            return
        self.reads.append((self.clock, header.clock, body.view(np.float64).copy()))
        gradient = np.zeros(self.workers)
        gradient[self.rank] = self.size
        asks = self.fused and self.clock + 1 < self.iterations
        self._send(messages.PUSH, gradient, flags=messages.CLOSES | (messages.ASKS if asks else 0), last=self.workers)
        self.clock += 1
        self.waiting = asks

    def _send(self, kind: int, values: Any = None, **fields: int) -> None:
        self.sequence += 1
        header = Header(kind, worker=self.rank, clock=self.clock, sequence=self.sequence, **fields)
        self.outbox.append(messages.pack(header) if values is None else messages.pack(header, values))


def shard_for(workers: int, rule: Consistency, **options: Any) -> Shard:
    table = Table("w", workers, update=Add())
    return Shard(0, [Part(table, place("range", workers, 1), 0)], range(workers), rule, **options)


def play(shard: Shard, scripts: list[Script], seed: int, repeat: bool = False) -> None:
    """Deliver messages in a random order that respects each worker's own; every script must come to its end."""
    draw = random.Random(seed)
    while not all(script.left for script in scripts):
        for script in scripts:
            if not script.outbox:
                script.advance()
        ready = [script for script in scripts if script.outbox]
        assert ready, "all scripts wait: deadlock"
        message = draw.choice(ready).outbox.popleft()
        replies = shard.receive(message)
        if repeat and messages.unpack(message)[0].kind == messages.PUSH:
            replies += shard.receive(message)
        for worker, reply in replies:
            scripts[worker].answer(reply)


@given(SCHEDULES)
def test_bsp_reads_exactly_the_closed_iterations(schedule: dict[str, int]) -> None:
    workers = schedule["workers"]
    scripts = [Script(r, workers, schedule["iterations"], fused=schedule["fused"]) for r in range(workers)]
    play(shard_for(workers, Consistency("bsp")), scripts, schedule["seed"])
    for script in scripts:
        for clock, slowest, values in script.reads:
            assert slowest == clock
            assert values.tolist() == [clock] * workers


@given(SCHEDULES, st.integers(0, 4))
def test_ssp_reads_everything_older_than_the_bound_and_its_own(schedule: dict[str, int], bound: int) -> None:
    workers = schedule["workers"]
    scripts = [Script(r, workers, schedule["iterations"], fused=schedule["fused"]) for r in range(workers)]
    play(shard_for(workers, Consistency("ssp", bound)), scripts, schedule["seed"])
    for script in scripts:
        for clock, slowest, values in script.reads:
            assert clock - slowest <= bound
            assert values.min() >= clock - bound
            assert values[script.rank] == clock


@given(SCHEDULES)
def test_async_never_waits_and_reads_its_own(schedule: dict[str, int]) -> None:
    workers = schedule["workers"]
    shard = shard_for(workers, Consistency("async"))
    scripts = [Script(r, workers, schedule["iterations"], fused=schedule["fused"]) for r in range(workers)]
    receive = shard.receive

    def answered(message: np.ndarray) -> list[Any]:
        replies = receive(message)
        assert shard.parked == 0
        return replies

    shard.receive = answered  # type: ignore[method-assign]
    play(shard, scripts, schedule["seed"])
    assert all(values[s.rank] == clock for s in scripts for clock, _, values in s.reads)


@given(SCHEDULES, st.sampled_from(["bsp", "ssp", "async"]))
def test_a_repeated_push_counts_once(schedule: dict[str, int], kind: str) -> None:
    workers = schedule["workers"]
    shard = shard_for(workers, Consistency(kind, 1))
    play(
        shard,
        [Script(r, workers, schedule["iterations"], fused=schedule["fused"]) for r in range(workers)],
        schedule["seed"],
        repeat=True,
    )
    assert shard.parts[0].values.tolist() == [schedule["iterations"]] * workers


def test_a_push_behind_a_lost_one_waits_for_both_to_be_sent_again() -> None:
    """A server in the middle of a chain died with the second push, and the third came here past it."""
    shard = shard_for(1, Consistency("async"))
    pushes = [
        messages.pack(Header(messages.PUSH, sequence=n, flags=messages.CLOSES, last=1), np.full(1, 10.0**n))
        for n in (1, 2, 3)
    ]
    for push in (pushes[0], pushes[2]):
        shard.receive(push)
    assert shard.parts[0].values.tolist() == [10.0]
    assert shard.receive(messages.pack(Header(messages.PULL, seen=3, last=1))) == []
    for push in pushes[:2]:
        shard.receive(push)
    ((_, reply),) = shard.receive(pushes[2])
    assert messages.unpack(reply)[1].view(np.float64).tolist() == [1110.0]


@given(SCHEDULES, st.sampled_from([Consistency("bsp"), Consistency("ssp", 1), Consistency("async")]))
def test_leaving_early_holds_nobody_up(schedule: dict[str, int], rule: Consistency) -> None:
    workers = schedule["workers"]
    shard = shard_for(workers, rule)
    scripts = [
        Script(r, workers, (schedule["seed"] + r) % (schedule["iterations"] + 1), fused=schedule["fused"])
        for r in range(workers)
    ]
    play(shard, scripts, schedule["seed"])
    assert shard.members == 0
    assert shard.parts[0].values.tolist() == [script.iterations for script in scripts]


@given(SCHEDULES)
def test_dropping_a_dead_worker_frees_the_others(schedule: dict[str, int]) -> None:
    workers = schedule["workers"] + 1
    shard = shard_for(workers, Consistency("bsp"))
    scripts = [Script(r, workers, schedule["iterations"], fused=schedule["fused"]) for r in range(workers)]
    dead = scripts.pop()
    dead.advance()
    shard.receive(dead.outbox.popleft())
    replies = shard.drop(dead.rank)
    assert all(worker != dead.rank for worker, _ in replies)
    play(shard, scripts, schedule["seed"])
    assert shard.parts[0].values[:-1].tolist() == [schedule["iterations"]] * (workers - 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("refuse", [True, False])
def test_not_finite_pushes_are_counted_and_refused_or_let_through(bad: float, refuse: bool) -> None:
    shard = shard_for(2, Consistency("async"), refuse_nan=refuse)
    values = np.array([1.0, bad])
    shard.receive(messages.pack(Header(messages.PUSH, worker=1, sequence=1, last=2), values))
    assert shard.not_finite == {1: 1}
    np.testing.assert_array_equal(shard.parts[0].values, [0, 0] if refuse else values)
    ((_, reply),) = shard.receive(messages.pack(Header(messages.FLUSH, worker=1, seen=1)))
    assert messages.unpack(reply)[0].not_finite == 1


@pytest.mark.parametrize(("kind", "expected"), [("ssp", [2, 0, 3, 1]), ("bsp", [0, 1, 2, 3])])
def test_pulls_that_one_push_sets_free(kind: str, expected: list[int]) -> None:
    """In order of arrival; under bsp in rank order, which makes a run repeatable."""
    shard = shard_for(4, Consistency(kind))
    tick = {
        rank: messages.pack(Header(messages.TICK, worker=rank, sequence=1, flags=messages.CLOSES)) for rank in range(4)
    }
    replies = []
    for rank in (2, 0, 3, 1):
        if rank != 1:
            replies += shard.receive(tick[rank])
        replies += shard.receive(messages.pack(Header(messages.PULL, worker=rank, clock=1, last=4)))
    assert replies == []
    assert [worker for worker, _ in shard.receive(tick[1])] == expected


@given(st.data())
@settings(max_examples=50)
def test_combine_is_bit_equal_to_adding_one_after_the_other(data: st.DataObject) -> None:
    rows, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 3))
    table = Table("w", rows, width)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    pushes: list[Any] = []
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            pushes.append((slice(0, rows), rng.normal(size=table.shape(rows))))
        else:
            chosen = np.flatnonzero(rng.random(rows) < 0.6)
            pushes.append((chosen, rng.normal(size=table.shape(len(chosen)))))
    total = np.zeros(table.shape(rows))
    for where, gradient in pushes:
        total[where] += gradient
    where, combined = combine(pushes)
    expected = np.zeros_like(total)
    expected[where] = combined
    assert expected.tobytes() == (total + 0.0).tobytes()


@pytest.mark.parametrize("rule", [Consistency("bsp"), Consistency("ssp", 0)], ids=str)
def test_a_message_costs_no_more_the_more_workers_wait(rule: Consistency, monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests that waited were tried again at every message: as many tries as workers squared."""
    workers = 50
    shard, tries = shard_for(workers, rule), 0
    before = Shard._may_answer

    def counted(self: Shard, header: Header) -> bool:
        nonlocal tries
        tries += 1
        return before(self, header)

    monkeypatch.setattr(Shard, "_may_answer", counted)
    replies = 0
    for rank in range(workers):
        tick = Header(messages.TICK, worker=rank, sequence=1, flags=messages.CLOSES)
        ask = Header(messages.PULL, worker=rank, clock=1, seen=1, last=workers)
        replies += sum(len(shard.receive(messages.pack(header))) for header in (tick, ask))
    assert replies == workers
    assert tries <= 4 * workers
