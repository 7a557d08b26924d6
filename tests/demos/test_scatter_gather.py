"""The scatter-gather demo end to end, and the corpus that it works on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from demos._lib.cases import corpus
from tests.demos.launched import refuse_simulated, run_demo, simulate_demo


def test_on_an_emulated_network_everything_is_checked(tmp_path: Path) -> None:
    options = ("--net", "10gbe", "--sizes", "1K,64K", "--budget", "2", "--documents", "800")
    done = simulate_demo("scatter_gather", 5, tmp_path, *options)
    assert done.status == 0, done.text
    result = done.result
    assert {row["pattern"] for row in result["measurements"]} == {
        "scatter linear", "scatter tree", "gather linear", "gather tree",
    }  # fmt: skip
    for row in result["measurements"]:
        assert row["wrong"] == 0
        assert row["predicted"] == pytest.approx(row["seconds"]["median"], rel=0.1)
    assert result["word_count"]["wrong"] == 0
    even, waiting, asking, impatient = result["search"]["ways"]
    assert even["predicted"] == pytest.approx(even["seconds"], rel=0.1)
    assert [way["missing"] for way in (even, waiting, asking)] == [[], [], []]
    assert [way["recall"] for way in (even, waiting, asking)] == [1.0, 1.0, 1.0]
    # two shards of 5 ms for each worker; 100 ms for one on the straggler; a backup of 5 ms after about 7.5
    assert waiting["seconds"] == pytest.approx(0.1, rel=0.1)
    assert asking["seconds"] < 0.03
    assert asking["backups"] >= 1
    assert impatient["seconds"] == pytest.approx(1.5 * even["seconds"], rel=0.01)
    for way in (waiting, impatient):
        assert way["predicted"] == pytest.approx(way["seconds"], rel=0.1)
    assert impatient["coverage"] >= 0.75
    assert impatient["missing"]
    uneven = result["uneven"]
    assert uneven["pull, one by one"]["balance"] > uneven["equal blocks"]["balance"]


def test_a_run_on_real_ranks_is_the_same_as_on_simulated_ones(tmp_path: Path) -> None:
    """Without pacing, who pulls which task is decided by emulated time alone, as long as nothing is cancelled."""
    options = ("--net", "wan", "--sizes", "1K", "--budget", "0.3", "--documents", "300")
    runs = [
        carry_out("scatter_gather", 3, tmp_path / carry_out.__name__, *options)
        for carry_out in (run_demo, simulate_demo)
    ]
    assert [run.status for run in runs] == [0, 0], runs[0].text
    first, second = (run.result for run in runs)
    assert same(first["search"]["ways"][:2], second["search"]["ways"][:2])
    for name in ("equal blocks", "pull, one by one"):  # who steals from whom is a matter of the wall without pacing
        assert same(first["uneven"][name], second["uneven"][name])


def same(one: Any, other: Any) -> bool:
    """Equal but for the last bits of durations: the wall sets how many repetitions came before."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return math.isclose(one, other, rel_tol=1e-12) if isinstance(one, float) else one == other


REFUSED = {
    "--quorum '120 %'": "between 0 % and 100 %",
    "--deadline '-1 ms'": "a time is a number >= 0",
    "--replicas 4": "1 to 3 replicas",
    "--slow '0 x4'": "names a worker",
}


@pytest.mark.parametrize("options", REFUSED)
def test_bad_input(options: str) -> None:
    assert REFUSED[options] in refuse_simulated("scatter_gather", 4, options)


def test_two_ranks_are_too_few() -> None:
    assert "at least 3 ranks" in refuse_simulated("scatter_gather", 2, "")


def test_the_corpus_is_python_s_own() -> None:
    documents = corpus.load(200)
    assert len(documents) == 200
    assert len({document.name for document in documents}) > 150
    assert all(document.text for document in documents)


def test_sources_come_in_the_order_of_their_paths_without_those_of_tests(tmp_path: Path) -> None:
    names = (
        "a.py",
        "a/b.py",
        "a/test/c.py",
        "a-b.py",
        "b/c/d.py",
        "b/c.py",
        "b/test.py",
        "tests/x.py",
        "z.txt",
        "Z.py",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in corpus._sources(tmp_path)]
    every = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.py"))
    assert found == [path.as_posix() for path in every if {"test", "tests"}.isdisjoint(path.parts)]
    assert len(found) == 7


def test_search_is_the_same_in_parts() -> None:
    """The best of the parts' best are the best of all."""
    documents = corpus.load(300)
    whole = corpus.search(documents, "return the value of an object", 10)
    parts = [corpus.search(documents[start::7], "return the value of an object", 10) for start in range(7)]
    assert len(whole) == 10
    assert corpus.best((hit for part in parts for hit in part), 10) == whole
    assert corpus.words("Don't Panic: a 2nd VALUE") == ["don", "panic", "nd", "value"]
