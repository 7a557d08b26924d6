"""A worker's own copies under bounded staleness: never staler than the bound, its own pushes always in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import emulator
from emulator.errors import UsageError
from primitives.parameter_server import SGD, Adagrad, Add, Consistency, Function, ParameterServer, Table, Worker
from primitives.parameter_server.cache import Cache
from primitives.parameter_server.keys import KeySharder
from primitives.parameter_server.layout import Layout
from tests.primitives.carriers import on_both_carriers

STEPS = 15


@on_both_carriers(4, bound=[0, 1, 3], straggler=[1, 3], joined=[False, True], servers=[1, 2])
def test_a_copy_under_a_straggler_is_never_staler_than_the_bound(
    comm: Any, bound: int, straggler: int, joined: bool, servers: int
) -> None:
    """Each worker counts in its own row: what a read misses is seen from outside, not from the rule's own figures."""
    rule = Consistency("ssp", bound)
    ps = ParameterServer(comm, [Table("w", 4, update=Add())], servers=servers, consistency=rule, cache=True)

    def work(worker: Worker) -> tuple[int, int]:
        behind, hidden = 0, 0
        pull = worker.pull_async("w")
        for step in range(STEPS):
            seen = pull.wait()
            behind = max(behind, step - int(seen[servers:].min()))
            hidden += step - int(seen[worker.rank])
            emulator.compute(comm, 0.004 if worker.rank == straggler else 1e-4)
            one = np.zeros(4)
            one[worker.rank] = 1
            if joined:
                pull = worker.push_pull("w", one)
            else:
                worker.push("w", one, closes=True)
                pull = worker.pull_async("w")
        pull.wait()
        return behind, hidden

    outcome = ps.run(work)
    assert outcome is None or (outcome[0] <= bound and outcome[1] == 0)
    seen, hits = ps.summary().staleness, ps.summary().cached
    assert seen.largest <= bound
    if ps.worker is not None:
        assert seen.reads == STEPS + 1
        # a read from the network serves at most the bound's number of reads after it
        assert hits <= (STEPS + 1) * bound / (bound + 1) + 1
        assert bound == 0 or hits >= 1
    keys, values = ps.owned("w")
    assert values.tolist() == [STEPS if key >= servers else 0 for key in keys]


@on_both_carriers(3, compression=["none", "fp16", "topk:0.5"], keys=["all", "some"])
def test_own_pushes_are_in_the_copy(comm: Any, compression: str, keys: str) -> None:
    """One worker alone must read from its copies what the server would have told it, whatever it pushes."""
    table = Table("w", 12, 2, update=SGD(0.5), initial=1.0)
    options: dict[str, Any] = {"workers": [1], "compression": compression, "consistency": Consistency("ssp", 5)}
    chosen = None if keys == "all" else np.array([7, 2, 2, 9])

    def work(worker: Worker) -> list[np.ndarray]:
        seen = []
        for step in range(12):
            rows = worker.pull("w", chosen)
            seen.append(rows)
            if step == 6:  # a push of other keys
                worker.push("w", np.ones((2, 2)), np.array([2, 3]))
            worker.push("w", rows / 4 + step, chosen, closes=True)
        return seen

    runs = [ParameterServer(comm, [table], servers=[0], cache=cache, **options) for cache in (False, True)]
    fresh, copies = (ps.run(work) for ps in runs)
    if fresh is not None and copies is not None:
        for one, other in zip(fresh, copies, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3 if compression == "fp16" else 1e-12)
        assert runs[0].summary().cached == 0
        assert runs[1].summary().cached >= (0 if compression == "topk:0.5" and keys == "all" else 8)
        assert runs[1].summary().worker_bytes <= runs[0].summary().worker_bytes


def make(bound: int = 2, size: int = 16) -> tuple[Cache, KeySharder]:
    tables = [Table("w", 10, update=Function(lambda w, g: w * g))]
    return Cache(tables, Consistency("ssp", bound), size), KeySharder(Layout(2, [0], [1], tables))


def test_a_copy_ages_and_is_replaced() -> None:
    cache, planner = make()
    sharded = planner.shard(0, None)
    assert cache.get(0, sharded, 0) is None
    cache.put(0, sharded, 4, np.ones(10), cache.mark(0))
    assert [cache.holds(0, sharded, clock) for clock in (5, 6, 7)] == [True, True, False]
    cache.put(0, sharded, 7, np.full(10, 3.0), cache.mark(0))
    copy = cache.get(0, sharded, 7)
    assert copy is not None
    assert (copy.clock, copy.rows[0]) == (7, 3.0)


def test_what_is_uncertain_is_not_kept() -> None:
    """A push between question and answer, one that is not finite, one of other keys."""
    cache, planner = make()
    sharded, other = planner.shard(0, None), planner.shard(0, np.array([1, 5]))
    mark = cache.mark(0)
    cache.pushed(0, sharded, np.ones(10))
    cache.put(0, sharded, 0, np.ones(10), mark)
    assert not cache.holds(0, sharded, 0)
    for pushed, gradient, kept in [(sharded, 2.0, True), (sharded, np.nan, False), (other, 1.0, False)]:
        cache.put(0, sharded, 0, np.ones(10), cache.mark(0))
        cache.pushed(0, pushed, np.full(pushed.distinct, gradient))
        assert cache.holds(0, sharded, 0) == kept
        if kept:
            copy = cache.get(0, sharded, 0)
            assert copy is not None
            assert copy.rows.tolist() == [2.0] * 10


def test_the_copy_used_longest_ago_goes_first() -> None:
    cache, planner = make(size=2)
    plans = [planner.shard(0, slice(0, stop)) for stop in (1, 2, 3)]
    for sharded in plans[:2]:
        cache.put(0, sharded, 0, np.zeros(sharded.distinct), 0)
    cache.get(0, plans[0], 0)
    cache.put(0, plans[2], 0, np.zeros(3), 0)
    assert [cache.holds(0, sharded, 0) for sharded in plans] == [True, False, True]


@pytest.mark.parametrize("rule", [Consistency("bsp"), Consistency("async"), Consistency("value", 1.0)], ids=str)
def test_other_rules_allow_no_copies(rule: Consistency) -> None:
    with pytest.raises(UsageError, match="under bounded staleness only"):
        Cache([Table("w", 4)], rule)


def test_an_update_with_state_allows_no_copies() -> None:
    with pytest.raises(UsageError, match="got Adagrad for table 'w'"):
        Cache([Table("w", 4, update=Adagrad())], Consistency("ssp", 1))
