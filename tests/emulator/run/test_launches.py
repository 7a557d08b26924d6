"""Earlier runs that count as launches: the same command on the same machine, and nothing else."""

import json
import os
from types import SimpleNamespace

import pytest

from demos._lib.timing import keep_samples
from emulator import results
from emulator.errors import UsageError
from emulator.launch import foreground
from emulator.measure.series import Job, Series
from emulator.measure.terms import measurement
from emulator.run import launches

COMMAND = ["mpirun", "-n", "4", "python", "-m", "demos.ring", "--sizes", "8,16"]


def leave(folder, seconds, **changes):
    """The folder of an earlier run with one repetition."""
    folder.mkdir(parents=True)
    leave_files(folder, seconds, **changes)


def leave_files(folder, seconds, **changes):
    result = results.new("ring", changes.pop("command", COMMAND), ranks=4) | {"launches": 1}
    result["environment"] |= changes.pop("environment", {})
    results.save(result | changes, folder / "result.json")
    results.save_samples(folder, [{"pattern": "ring", "ranks": 4, "bytes": 8, "seconds": seconds, "skew": 0.0}])


def a_run(parent, **options):
    folder = parent / "now"
    folder.mkdir()
    found = results.new("ring", [*COMMAND, "--full"], ranks=4)
    chosen = SimpleNamespace(**{"out": None, "trace": False, **options})
    return SimpleNamespace(folder=folder, clock="wall", launch=launches.Launch(), options=chosen, result=found)


def joined(run, alone=False):
    series = Series(Job("ring", 4, 8, (0, 1, 2, 3)), [9.0], [0.0])
    launches.join(run, [series], alone)
    return series.seconds


def test_earlier_runs_of_the_same_command_are_taken_in(tmp_path):
    leave(tmp_path / "1", 1.0, command=[*COMMAND, "--json", "x", "--quiet"])
    leave(tmp_path / "2", 2.0, command=[*COMMAND, "--alone"])
    leave(tmp_path / "3", 3.0, command=[*COMMAND, "--budget", "9"])
    leave(tmp_path / "4", 4.0, environment={"mpi": "another"})
    leave(tmp_path / "5", 5.0, clock="emulated")
    leave(tmp_path / "6", 6.0, failures=["wrong"])
    leave(tmp_path / "7", 7.0, launches=None)  # as where it was interrupted
    leave(tmp_path / "8", 8.0)
    os.utime(tmp_path / "8" / "result.json", (1, 1))  # before the code was written
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "result.json").write_text("[]")
    run = a_run(tmp_path)
    assert joined(run) == [1.0, 2.0, 9.0]
    assert run.result["launches"] == 3
    assert run.result["earlier"] == [str(tmp_path / "1"), str(tmp_path / "2")]


def test_runs_without_samples_are_passed_over(tmp_path):
    for name in "12":
        leave(tmp_path / name, 1.0)
    (tmp_path / "1" / "samples.csv").write_text("pattern,ranks,bytes,seconds,skew\n")
    (tmp_path / "2" / "samples.csv").unlink()
    run = a_run(tmp_path)
    assert joined(run) == [9.0]
    assert run.result["earlier"] == []


@pytest.mark.parametrize(("written", "started"), [(False, 1), (True, 3)])
def test_launches_end_where_one_could_not_save(tmp_path, monkeypatch, written, started):
    folders = []

    def launch(arguments, extra_env, **options):
        folder = launches.Launch(**json.loads(extra_env["CLUSTER_EMULATOR_LAUNCH"])).folder
        folders.append(folder)
        if written:
            leave_files(tmp_path / "out", 1.0)
        return 1

    monkeypatch.setattr(foreground, "run_filtered", launch)
    assert launches.start(2, 3, "ring", str(tmp_path / "out")) == 1
    assert folders == [str(tmp_path / "out")] * started


@pytest.mark.parametrize(("alone", "options"), [(True, {}), (False, {"out": "x"}), (False, {"trace": True})])
def test_a_run_stands_alone_where_it_is_asked_to(tmp_path, alone, options):
    leave(tmp_path / "1", 1.0)
    run = a_run(tmp_path, **options)
    assert joined(run, alone) == [9.0]
    assert (run.result["launches"], run.result["earlier"]) == (1, [])


def test_the_only_launch_that_a_demo_starts_is_alone(tmp_path, monkeypatch):
    leave(tmp_path / "1", 1.0)
    monkeypatch.setattr(launches.job, "started_by_us", lambda: True)
    assert joined(a_run(tmp_path)) == [9.0]


def test_the_launches_of_one_command_are_in_its_folder(tmp_path):
    leave(tmp_path / "1", 1.0)
    run = a_run(tmp_path)
    run.folder, run.launch = tmp_path / "1", launches.Launch(2, 3, str(tmp_path / "1"))
    assert joined(run) == [1.0, 9.0]
    assert run.result["earlier"] == []


def test_wrong_elements_of_earlier_launches_are_counted_once(tmp_path):
    row = measurement(Series(Job("ring", 4, 8, (0, 1, 2, 3)), [1.0], [0.0], 3))
    leave(tmp_path / "1", 1.0, measurements=[row], failures=["ring of 8 bytes on 4 ranks has 3 wrong elements"])
    run = a_run(tmp_path)
    run.folder, run.launch = tmp_path / "1", launches.Launch(2, 3, str(tmp_path / "1"))
    run.samples, run.failures = [], []
    run.fail = run.failures.append
    launches.take_up(run)
    series = [Series(Job("ring", 4, 8, (0, 1, 2, 3)), [9.0], [0.0], 2)]
    launches.join(run, series, alone=False)
    keep_samples(run, series)
    assert run.failures == ["ring of 8 bytes on 4 ranks has 5 wrong elements"]


def test_launches_are_counted_where_they_differ():
    assert launches.count(None, False, False) == launches.DEFAULT
    assert launches.count(5, False, False) == 5
    assert launches.count(None, True, False) == launches.count(1, False, True) == 1
    for emulated, traced, said in [(True, False, "with --net"), (False, True, "with --trace")]:
        with pytest.raises(UsageError, match=f"--launches is 1 {said}.*got 3"):
            launches.count(3, emulated, traced)
