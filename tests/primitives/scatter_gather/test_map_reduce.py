"""MapReduce against the one-process answer."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from emulator.errors import UsageError
from primitives.scatter_gather import TaskFailed
from primitives.scatter_gather.map_reduce import ReduceFailed, map_reduce
from tests.primitives.carriers import on_both_carriers
from tests.primitives.groups import group
from tests.ranks import on_ranks


def _texts(seed: int) -> list[str]:
    chance = random.Random(seed)
    words = [f"word{int(chance.paretovariate(0.7)) % 50}" for _ in range(chance.randrange(400))]
    return [" ".join(words[start : start + 9]) for start in range(0, len(words), 9)]


def _words(text: str) -> Iterator[tuple[str, int]]:
    return ((word, 1) for word in text.split())


def _total(word: str, counts: list[int]) -> int:
    return sum(counts)


@on_both_carriers(5, p=[2, 3, 5], combine=[False, True], seed=[0, 1, 2])
def test_word_count_equals_counter(comm: Any, p: int, combine: bool, seed: int) -> None:
    with group(comm, p) as part:
        if part is None:
            return
        texts = _texts(seed)
        root = seed % p
        counts = map_reduce(part, _words, _total, texts if part.Get_rank() == root else (), root=root, combine=combine)
        assert counts == (Counter(" ".join(texts).split()) if part.Get_rank() == root else None)


@on_both_carriers(3)
def test_values_arrive_unreduced_without_combine(comm: Any) -> None:
    """An inverted index, whose reducer is not associative; and no inputs at all."""
    texts = _texts(3)
    index = map_reduce(
        comm,
        lambda pair: ((word, pair[0]) for word in pair[1].split()),
        lambda word, lines: sorted(set(lines)),
        list(enumerate(texts)),
    )
    if index is not None:
        expected: dict[str, set[int]] = {}
        for line, text in enumerate(texts):
            for word in text.split():
                expected.setdefault(word, set()).add(line)
        assert index == {word: sorted(lines) for word, lines in expected.items()}
    assert map_reduce(comm, _words, _total, []) == ({} if comm.Get_rank() == 0 else None)


@on_both_carriers(4)
def test_an_attempt_that_failed_or_came_second_does_not_count(comm: Any) -> None:
    """Mappers raise at first and get backups at once: every word still counts once."""
    chance = random.Random(comm.Get_rank())
    texts = _texts(4)

    def flaky(text: str) -> Iterator[tuple[str, int]]:
        yield from _words(text)
        if chance.random() < 0.3:
            raise OSError("disk")

    counts = map_reduce(comm, flaky, _total, texts, retries=30, speculate=1.0)
    if counts is not None:
        assert counts == Counter(" ".join(texts).split())


@on_ranks(4)
def test_output_that_died_with_its_worker_is_made_again(comm: Any) -> None:
    """A detector gives up on rank 2 in the middle of the map phase; its words come from elsewhere."""
    texts = [f"one{line % 7} two{line % 3}" for line in range(60)]
    asked: list[int] = []

    def membership(comm: Any) -> list[int]:
        asked.append(len(asked))
        return [2] if len(asked) > 1 else []

    def slow(text: str) -> Iterator[tuple[str, int]]:
        time.sleep(5e-3)
        return _words(text)

    counts = map_reduce(comm, slow, _total, texts, membership=membership)
    if counts is not None:
        assert counts == Counter(" ".join(texts).split())
        assert len(asked) > 1


@on_both_carriers(3)
def test_failures_reach_the_root_and_hang_nobody(comm: Any) -> None:
    def mapper(text: str) -> list[tuple[str, int]]:
        raise ValueError("no words")

    def reducer(word: str, counts: list[int]) -> int:
        raise ArithmeticError(word)

    for function, reduction, error, text in [
        (mapper, _total, TaskFailed, "ValueError: no words"),
        (_words, reducer, ReduceFailed, "raised for 2 keys(.|\n)*ArithmeticError"),
    ]:
        if comm.Get_rank() == 0:
            with pytest.raises(error, match=text):
                map_reduce(comm, function, reduction, ["a b"])
        else:
            assert map_reduce(comm, function, reduction) is None


@on_ranks(1)
def test_one_rank_is_too_few(comm: Any) -> None:
    with pytest.raises(UsageError, match="at least 1 worker"):
        map_reduce(comm, _words, _total, ["a"])
