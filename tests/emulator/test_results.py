"""The result file and the run folder: what is written is what is read, all else is one clear line."""

import json
import os

import numpy as np
import pytest

from emulator import results
from emulator.errors import CannotWrite, UsageError
from emulator.results import environment
from emulator.results.files import replacing

MEASUREMENT = {
    "pattern": "ring",
    "ranks": 4,
    "bytes": 1024,
    "seconds": {"median": 1e-5, "ci95": [9e-6, 1.1e-5], "p5": 8e-6, "p95": 2e-5, "p99": 3e-5, "n": 30},
    "algbw": 1e8,
    "busbw": 1.5e8,
    "predicted": 1.1e-5,
    "native": {"median": 9e-6, "ci95": [8e-6, 1e-5]},
    "wrong": 0,
}
FIT = {
    "level": "collective",
    "pattern": "ring",
    "alpha": {"value": 1e-6, "ci95": [9e-7, 1.1e-6]},
    "beta": {"value": 1e-9, "ci95": [9e-10, 1.1e-9]},
    "gamma": None,
    "segments": [],
    "median_relative_error": 0.03,
    "configured": None,
}
DRILL = {
    "pattern": "ring",
    "ranks": 8,
    "ranks_after": 7,
    "recovery": "shrink",
    "faults": [{"text": "kill 3 @ step 20", "fired": True, "at": 1.5}],
    "outcome": "recovered",
    "phases": {"detect": 0.006, "agree": 0.001, "rebuild": 0.0, "restore": 0.002, "replay": 0.01},
    "recovery_seconds": 0.019,
    "lost_steps": 1,
    "result_matches": True,
    "overhead": {"fault_free_seconds": 1.0, "drill_seconds": 1.1},
    "repeats": [],
}


def a_result(**changes):
    result = results.new("ring", ["python", "-m", "demos.ring"], ranks=4)
    result.update(measurements=[MEASUREMENT], fits=[FIT], drill=DRILL)
    result["held_out"] = [{"ranks": 16, "bytes": 8, "measured": 1e-5, "predicted": 1.1e-5, "relative_error": 0.1}]
    return {**result, **changes}


def test_what_is_saved_is_loaded_from_the_file_and_from_its_folder(tmp_path):
    path = results.save(a_result(note="kept"), tmp_path / "result.json")
    for source in (path, tmp_path):
        loaded = results.load(source)
        assert loaded["measurements"][0]["seconds"]["ci95"] == [9e-6, 1.1e-5]
        assert loaded["drill"]["faults"] == DRILL["faults"]
        assert loaded["environment"]["ranks"] == 4
        assert loaded["note"] == "kept"
        assert loaded["schema"] == 1


def test_numpy_values_are_written_as_numbers_and_what_is_not_finite_as_null(tmp_path):
    extra = {"array": np.arange(3), "number": np.float64(0.5), "nothing": float("nan"), "path": tmp_path}
    path = results.save(a_result(extra=extra), tmp_path / "result.json")
    written = json.loads(path.read_text())["extra"]
    assert written == {"array": [0, 1, 2], "number": 0.5, "nothing": None, "path": str(tmp_path)}


def test_a_result_that_breaks_the_schema_is_refused_but_not_thrown_away(tmp_path):
    with pytest.raises(ValueError, match=r"measurements\.0\.ranks"):
        results.save(a_result(measurements=[{**MEASUREMENT, "ranks": 0}]), tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text())["measurements"][0]["bytes"] == 1024


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", 'no field "schema"'),
        (b'{"schema": 2}', "it says schema '2'"),
        (b'{"schema": 1, "demo": "ring"}', "command: field required"),
        (b'{"schema": 1, "demo": 5}', "demo: input should be a valid string"),
    ],
)
def test_a_foreign_file_is_one_clear_line(tmp_path, content, said):
    path = tmp_path / "foreign.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        results.load(path)
    message = str(caught.value)
    assert said in message
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize("field", ["median", "n"])
def test_numbers_that_are_not_numbers_are_named(tmp_path, field):
    seconds = {**MEASUREMENT["seconds"], field: "soon"}
    content = json.dumps(a_result(measurements=[{**MEASUREMENT, "seconds": seconds}]))
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UsageError, match=rf"measurements\.0\.seconds\.{field}"):
        results.load(tmp_path)


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*nowhere\.json: No such file"):
        results.load(tmp_path / "nowhere.json")


def test_run_folders_never_collide_and_latest_is_the_newest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [results.run_folder("ring") for _ in range(3)]
    assert len(set(folders)) == 3
    latest = tmp_path / "runs" / "ring" / "latest"
    assert not latest.exists()  # a run that has no result yet may never have one
    for folder in folders[:2]:
        results.save(a_result(), folder / results.RESULT)
    assert latest.resolve() == folders[1].resolve()
    results.discard(folders[1])
    results.discard(folders[2])
    assert [folder.exists() for folder in folders] == [True, True, False]
    assert not os.path.isabs(os.readlink(latest))


def test_the_users_own_file_named_latest_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "runs" / "ring" / "latest" / "mine"
    mine.parent.mkdir(parents=True)
    mine.touch()
    results.save(a_result(), results.run_folder("ring") / results.RESULT)
    assert mine.exists()


def test_a_device_is_never_replaced_by_a_file_and_a_link_keeps_its_place(tmp_path):
    pipe, link, file, to_file = (tmp_path / name for name in ("pipe", "link", "file", "to-file"))
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    file.touch()
    to_file.symlink_to(file)
    for path in (pipe, link):
        with pytest.raises(CannotWrite, match="it is not a file"), replacing(path):
            raise AssertionError("nothing is written")
    assert pipe.is_fifo()
    with replacing(to_file) as waiting:
        waiting.write_text("new")
    assert to_file.is_symlink()
    assert file.read_text() == "new"


def test_out_is_the_folder_itself(tmp_path):
    assert results.run_folder("ring", out=tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write the run folder .* choose another with --out"):
        results.run_folder("ring", out=tmp_path / "file" / "below")
    (tmp_path / "runs").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"cannot write the run folder runs/ring"):
        results.run_folder("ring")
    with pytest.raises(CannotWrite, match=r"cannot write .*result\.json: Not a directory"):
        results.save(a_result(), tmp_path / "file" / "result.json")


def test_samples_come_back_as_they_were(tmp_path):
    rows = [
        {"pattern": "ring", "ranks": 4, "bytes": 8, "seconds": 1.25e-6},
        {"pattern": "native", "ranks": 4, "bytes": 8, "seconds": np.float64(2e-6), "note": "a, b"},
    ]
    results.save_samples(tmp_path, rows)
    assert results.load_samples(tmp_path) == [
        {"pattern": "ring", "ranks": 4, "bytes": 8, "seconds": 1.25e-6, "note": None},
        {"pattern": "native", "ranks": 4, "bytes": 8, "seconds": 2e-6, "note": "a, b"},
    ]


def test_missing_samples_are_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*samples\.csv"):
        results.load_samples(tmp_path)


def test_oversubscription_is_that_of_the_fullest_host():
    record = environment.record(6, ["a", "a", "a", "a", "b", "b"])
    assert record["hosts"] == ["a", "b"]
    assert environment.rank_hosts(record) == ["a", "a", "a", "a", "b", "b"]
    assert environment.rank_hosts({"hosts": ["a", "b"], "ranks": 3}) == ["a", "a", "b"]
    assert record["oversubscription"] == 4 / record["cores"]


def test_ranks_crowd_only_where_a_host_has_fewer_cores_than_ranks():
    cores = environment.record()["cores"]
    one_host, two_hosts = ["a"] * 4 * cores, ["a", "b"] * 2 * cores
    assert environment.crowding(one_host)(1) == 1
    assert environment.crowding(one_host)(2 * cores) == 2
    assert environment.crowding(one_host)(4 * cores) == 4
    assert environment.crowding(two_hosts)(4 * cores) == 2


def test_an_environment_says_what_makes_it_unstable():
    calm = {"cores": 4, "ranks": 4, "oversubscription": 1.0, "load": [0.1, 0, 0], "governor": "performance"}
    assert environment.warnings(calm) == []
    crowded = {**calm, "ranks": 16, "oversubscription": 4.0, "load": [3.9, 0, 0], "governor": "powersave"}
    said = environment.warnings(crowded)
    for line, reason in zip(said, ["16 ranks take turns on 4 cores", "load 3.9", "powersave"], strict=True):
        assert reason in line
