"""Equal blocks, directly and down a tree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from primitives.blocks import split
from primitives.scatter_gather import gather_blocks, map_blocks, scatter_blocks
from tests.primitives.groups import group
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks


@given(st.lists(st.integers()), st.integers(1, 20))
def test_split_loses_nothing(items: list[int], parts: int) -> None:
    pieces = split(items, parts)
    assert [item for piece in pieces for item in piece] == items
    assert len(pieces) == parts
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@on_simulated_ranks(8, on_mpi={"ranks": 5, "p": [1, 2, 4, 5]}, p=[1, 2, 3, 5, 7, 8], shape=["linear", "tree"])
def test_blocks_of_any_size_reach_their_ranks_and_come_back(comm: Any, p: int, shape: str) -> None:
    with group(comm, p) as part:
        if part is None:
            return
        for root in {0, p // 2, p - 1}:
            blocks = [bytes([rank]) * (rank * 5000 % 7001) for rank in range(p)]
            mine = scatter_blocks(part, blocks if part.Get_rank() == root else None, root=root, shape=shape)
            assert mine == blocks[part.Get_rank()]
            back = gather_blocks(part, mine + b"!", root=root, shape=shape)
            assert back == ([block + b"!" for block in blocks] if part.Get_rank() == root else None)


@on_simulated_ranks(5, on_mpi={}, tasks=[0, 1, 5, 23], shape=["linear", "tree"])
def test_map_blocks(comm: Any, tasks: int, shape: str) -> None:
    """The same as the loop; a task that raises is retried and reported, and harms no other."""
    calls: list[int] = []

    def work(x: int) -> Any:
        calls.append(x)
        if x == 3:
            raise KeyError("three")
        return (lambda: x) if x == 4 else x * x

    answer = map_blocks(comm, work, range(tasks), root=2, shape=shape, retries=1)
    assert calls.count(3) in (0, 2)
    assert (answer is None) == (comm.Get_rank() != 2)
    if answer is not None:
        assert answer.missing == []
        assert answer.present() == {x: x * x for x in range(tasks) if x not in (3, 4)}
        assert set(answer.failures) == {3, 4} & set(range(tasks))
        if tasks > 4:
            assert "KeyError: 'three'" in answer.failures[3].error
            assert answer.failures[3].attempts == 2
            assert "cannot be sent" in answer.failures[4].error


@on_ranks(2)
def test_bad_input(comm: Any) -> None:
    for call, rule in [
        (lambda: scatter_blocks(comm, [b""] * 2, shape="star"), "linear, tree, got 'star'"),
        (lambda: gather_blocks(comm, b"", root=2), "root must be a rank"),
        (lambda: map_blocks(comm, abs, [], retries=-1), "retries must be >= 0"),
    ]:
        with pytest.raises(UsageError, match=rule):
            call()


@on_simulated_ranks(5, on_mpi={}, shape=["linear", "tree"], blocks=[None, 3, 6])
def test_a_wrong_number_of_blocks_is_refused_on_every_rank(comm: Any, shape: str, blocks: int | None) -> None:
    """On the root alone it would leave the others waiting."""
    given = None if blocks is None else [b""] * blocks
    with pytest.raises(UsageError, match="one block for each of the 5 ranks"):
        scatter_blocks(comm, given if comm.Get_rank() == 0 else None, shape=shape)
