"""Retrieval: exact parts of an index, and what must hold for the run that the chapter shows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demos._lib.cases import corpus, retrieval, search_service
from demos._lib.cases.retrieval import Index, Passage
from demos._lib.cases.search_service import Places
from demos.cases import rag
from emulator.errors import UsageError
from tests.demos.launched import refuse_simulated, simulate_demo


@pytest.fixture(scope="module")
def held() -> list[Passage]:
    texts = retrieval.passages(corpus.load(800))
    return [Passage(number, *one) for number, one in enumerate(texts)]


@pytest.fixture(scope="module")
def shared(held: list[Passage]) -> retrieval.Statistics:
    return retrieval.statistics([one.text for one in held])


@pytest.mark.parametrize("parts", [2, 5])
def test_the_best_of_the_shards_are_the_best_of_one_index(
    held: list[Passage], shared: retrieval.Statistics, parts: int
) -> None:
    whole = Index(shared, held)
    shards = [Index(shared, held[part::parts]) for part in range(parts)]
    for one in held[:: len(held) // 40]:
        query = shared.query(" ".join(corpus.words(one.text)[:5]))
        merged = retrieval.merge([shard.search(query, 10) for shard in shards], 10)
        for ours, theirs in zip(merged, whole.search(query, 10), strict=True):
            assert np.array_equal(ours[0], theirs[0])
            assert np.array_equal(ours[1], theirs[1])


def test_an_index_that_grows_is_the_index_of_all(held: list[Passage], shared: retrieval.Statistics) -> None:
    grown = Index(shared, held[:100])
    grown.add(held[100:300])
    whole, query = Index(shared, held[:300]), shared.query("return the value of an object")
    assert len(grown) == 300
    assert retrieval.fuse(grown.search(query, 10), 10) == retrieval.fuse(whole.search(query, 10), 10)


def test_equal_scores_are_in_the_order_of_their_numbers_and_zero_is_no_hit() -> None:
    scores, numbers = retrieval.best(np.array([0, 2, 2, 1, 2], np.float32), np.array([4, 9, 3, 1, 7]), 3)
    assert numbers.tolist() == [3, 7, 9]
    assert scores.tolist() == [2, 2, 2]
    assert len(retrieval.best(np.zeros(50, np.float32), np.arange(50), 3)[1]) == 0


def test_a_lost_worker_s_shards_go_to_the_workers_with_the_fewest() -> None:
    places = Places(6, range(1, 7))
    moves = places.lose(3)
    assert [shard for shard, _ in moves] == [1, 2]
    for shard in range(6):
        assert len(set(places.replicas_of(shard))) == 2
        assert 3 not in places.replicas_of(shard)
    loads = [sum(rank in places.replicas_of(shard) for shard in range(6)) for rank in (1, 2, 4, 5, 6)]
    assert max(loads) - min(loads) <= 1
    assert places.lose(4)


def test_packages_that_are_not_installed_are_named() -> None:
    with pytest.raises(UsageError, match="got 'no_such_package'"):
        list(corpus.of_packages(["no_such_package"]))


ALONE: Any = SimpleNamespace(gather=lambda x: [x], bcast=lambda x: x, Get_rank=lambda: 0, Get_size=lambda: 1)
"""A control communicator of one rank."""


def test_a_collection_too_small_for_an_index_is_refused() -> None:
    with pytest.raises(UsageError, match=r"at least 200 passages, got \d+ in the documentation of iniconfig: name"):
        search_service.collect(ALONE, ["iniconfig"])


def test_a_missing_library_is_one_line_with_the_command_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "scipy" else found(name))
    with pytest.raises(UsageError, match=r"needs SciPy, .* pip install 'cluster-emulator\[cases\]'") as error:
        search_service.collect(ALONE, ["numpy"])
    assert "\n" not in str(error.value)


def test_a_python_without_the_sources_of_its_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(UsageError, match=r"has no sources with any: use a Python"):
        corpus.load(400)


def test_a_drill_spares_the_driver() -> None:
    from faults.drill.request import Request

    with pytest.raises(UsageError, match='if_lost = "restart"'):
        Request("rag", 8, ["kill 0 @ step 3"], options=rag.DRILL.options).spec()
    assert Request("rag", 8, ["kill 3 @ step 3"], options=rag.DRILL.options).spec().recovery == "replicate"


def check_run(result: dict[str, Any]) -> None:
    """Check the result of the chapter's run: answers are those of one process, terms are as predicted."""
    parts = result["case"]
    assert [part["passed"] for part in parts if "passed" in part] == [True, True]
    ways = {row[0].strip(): row for part in parts for row in part.get("rows", ())}
    assert ways["7 shards"][1] < ways["3 shards"][1] < ways["1 shard"][1]
    assert ways["a worker 8 times slower"][1] > 3 * ways["7 shards"][1] > ways["asked again elsewhere"][1]
    assert [row[3] for row in ways.values() if "deadline" not in row[0]] == [1.0] * 6
    assert 0.5 < ways["quorum at a deadline"][3] < 1
    terms = {row["term"]: row for part in parts for row in part.get("terms", {}).get("rows", ())}
    assert terms["total"]["predicted"] == pytest.approx(terms["total"]["measured"], rel=0.15)
    assert terms["waiting"]["predicted"] == pytest.approx(terms["waiting"]["measured"], rel=0.15)


def test_two_ranks_are_too_few() -> None:
    why = "the driver and two workers, so that a shard has a replica elsewhere"
    assert f"needs at least 3 ranks ({why}), got --simulate 2" in refuse_simulated("cases.rag", 2, "")


def test_a_question_without_a_word_of_the_corpus_is_refused(tmp_path: Path) -> None:
    done = simulate_demo("cases.rag", 3, tmp_path, "--net", "home", "--packages", "click,rich", "--question", "xq zzzz")
    lines = [line for line in done.text.splitlines() if line.startswith("error:")]
    assert done.status == 2
    assert len(lines) == 1
    assert "occurs in a passage" in lines[0]
