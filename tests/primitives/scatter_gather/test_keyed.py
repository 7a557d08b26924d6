"""Shards with replicas: only owners answer, the dead are replaced, and what is missing is named."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from primitives.scatter_gather import Deadline, Shards, TasksMissing, ask_shards, coordinator, stable_hash
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks


@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 8))
def test_every_shard_has_its_replicas(shards: int, workers: int, replicas: int) -> None:
    """On as many different workers, spread so that no worker holds more than one shard above its share."""
    ranks = list(range(10, 10 + workers))
    if replicas > workers:
        with pytest.raises(UsageError, match="replicas"):
            Shards(shards, ranks, replicas)
        return
    placement = Shards(shards, ranks, replicas)
    for shard in range(shards):
        assert len(set(placement.replicas_of(shard))) == replicas
    held = [placement.held_by(rank) for rank in ranks]
    assert sum(map(len, held)) == shards * replicas
    assert all(rank in placement.replicas_of(shard) for rank, mine in zip(ranks, held, strict=True) for shard in mine)
    assert max(map(len, held)) <= replicas * -(-shards // workers)


@given(st.lists(st.text() | st.integers(), unique_by=repr))
def test_keys_are_split_without_loss(keys: list[Any]) -> None:
    placement = Shards(5, [1, 2], 1)
    parts = placement.split(keys)
    assert sorted(repr(key) for part in parts for key in part) == sorted(map(repr, keys))
    assert all(placement.shard_of(key) == shard for shard, part in enumerate(parts) for key in part)


def test_a_key_has_the_same_shard_in_every_process() -> None:
    """Python's own hash of a string differs from process to process."""
    program = "from primitives.scatter_gather.keyed import stable_hash; print(stable_hash(('a', 1)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert int(result.stdout) == stable_hash(("a", 1))


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: Shards(0, [1]), "at least 1 shard"),
        (lambda: Shards(2, [1, 1]), "named once"),
        (lambda: Shards(2, [1, 2], 0), "1 to 2 replicas"),
        (lambda: Shards(2, [1, 2]).replicas_of(2), "from 0 to 1, got 2"),
        (lambda: Shards(2, [1]).split(["a", "b", "a"]), "'a' twice"),
    ],
)
def test_bad_input(call: Any, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        call()


def _placement(comm: Any, replicas: int) -> Shards:
    return Shards(6, range(1, comm.Get_size()), replicas)


@on_simulated_ranks(4, on_mpi={}, replicas=[1, 2, 3])
def test_only_owners_answer(comm: Any, replicas: int) -> None:
    placement = _placement(comm, replicas)
    mine = placement.held_by(comm.Get_rank())

    def search(task: tuple[int, str]) -> tuple[int, str, int]:
        shard, question = task
        assert shard in mine
        return shard, question, comm.Get_rank()

    with coordinator(comm, search) as pool:
        if pool is not None:
            answer = ask_shards(pool, placement, "who?")
            assert [value[:2] for value in answer.values()] == [(shard, "who?") for shard in range(6)]
            some = ask_shards(pool, placement, "x", [4, 1])
            assert sorted(some.present()) == [1, 4]
            with pytest.raises(UsageError, match="got 4 twice"):
                ask_shards(pool, placement, "x", [4, 1, 4])


@on_simulated_ranks(4, on_mpi={}, replicas=[1, 2])
def test_a_dead_worker_is_replaced_by_replicas_or_its_shards_are_missing(comm: Any, replicas: int) -> None:
    placement = _placement(comm, replicas)
    with coordinator(comm, lambda task: task[0]) as pool:
        if pool is not None:
            pool.declare_dead(2)
            answer = ask_shards(pool, placement, None)
            gone = placement.held_by(2) if replicas == 1 else []
            assert answer.missing == gone
            assert answer.present() == {shard: shard for shard in range(6) if shard not in gone}
            assert answer.coverage == (6 - len(gone)) / 6
            if gone:
                with pytest.raises(TasksMissing):
                    answer.values()


@on_ranks(4, replicas=[1, 2])
def test_a_slow_replica(comm: Any, replicas: int) -> None:
    """Rank 1 never answers. With a second replica a backup does; with one the quorum names rank 1's shards."""
    placement = _placement(comm, replicas)

    def search(task: tuple[int, None]) -> Any:
        while comm.Get_rank() == 1:
            yield
        return task[0]

    with coordinator(comm, search, prefetch=0, batch=1) as pool:
        if pool is not None and replicas == 2:
            assert ask_shards(pool, placement, None, speculate=1.5).values() == list(range(6))
        elif pool is not None:
            answer = ask_shards(pool, placement, None, deadline=Deadline(0.0, 4 / 6))
            assert answer.missing == placement.held_by(1)
