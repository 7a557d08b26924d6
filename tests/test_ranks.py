"""The harness for tests inside a job, tested with itself."""

import pytest

from tests import ranks
from tests.ranks import on_ranks


@on_ranks(3, factor=[1, 2])
def test_runs_on_every_rank(comm, factor):
    assert comm.allreduce(factor) == 3 * factor


@pytest.fixture(autouse=True)
def no_failures(monkeypatch):
    """Cases that these tests make fail stay theirs."""
    monkeypatch.setattr(ranks, "_failed", set())


def test_a_failure_on_one_rank_fails_the_case(monkeypatch):
    seen = {"ranks": {"0": {"case[]": ""}, "1": {"case[]": "AssertionError"}}, "output": ""}
    monkeypatch.setitem(ranks._reports, ("module", 2), seen)
    with pytest.raises(AssertionError, match="rank 1"):
        ranks._report("module", 2, "case[]")


def test_a_case_without_report_fails(monkeypatch):
    monkeypatch.setitem(ranks._reports, ("module", 2), {"ranks": {"0": {"case[]": ""}, "1": {}}, "output": "hung"})
    with pytest.raises(AssertionError, match=r"not run on ranks \['1'\]"):
        ranks._report("module", 2, "case[]")


def test_a_failed_case_that_is_run_again_is_launched_alone(monkeypatch):
    seen = {"ranks": {"0": {"case[]": "AssertionError", "other[]": ""}}, "output": ""}
    again = {"ranks": {"0": {"case[]": ""}}, "output": ""}
    launched = []
    monkeypatch.setitem(ranks._reports, ("module", 1), seen)
    monkeypatch.setattr(ranks, "_launch", lambda batch, n: launched.append((batch, n)) or {("module", 1): again})
    with pytest.raises(AssertionError, match="rank 0"):
        ranks._report("module", 1, "case[]")
    assert not launched
    ranks._report("module", 1, "case[]")
    assert launched == [({"module": ["case[]"]}, 1)]
    ranks._report("module", 1, "other[]")
    assert len(launched) == 1
