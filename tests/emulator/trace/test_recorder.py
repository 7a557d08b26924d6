"""The file of a rank's events: the last ones are kept, and it is there when the rank was killed."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from emulator import sim
from emulator.core.instruments import NO_PEER, Wait
from emulator.errors import CannotWrite, UsageError
from emulator.report.views.timeline import brief
from emulator.trace import diagram, folder, loading, perfetto, tracing
from emulator.trace.recorder import FAULT, HEADER, PHASE, ROW, TRACES, Recorder, default_limit
from emulator.trace.summary import summarise


def _recorder(folder: Path, limit: int, rank: int = 0, now: float = 9.0) -> Recorder:
    (folder / TRACES).mkdir(exist_ok=True)
    return Recorder(folder / TRACES / f"000-{rank:05d}.bin", rank, 2, lambda: now, limit, clock="simulated")


def test_the_last_events_are_kept(tmp_path: Path) -> None:
    recorder = _recorder(tmp_path, limit=4)
    for turn in range(10):
        recorder.waited(Wait.POLL, float(turn), turn + 0.5, NO_PEER, 0)
    recorder.close()
    other = _recorder(tmp_path, limit=4, rank=1, now=0.0)
    other.waited(Wait.POLL, 0.0, 9.0, NO_PEER, 0)
    other.close()
    found = loading.load(tmp_path)
    assert found.ranks[0].rows["t"].tolist() == [6.0, 7.0, 8.0, 9.0]
    assert (found.ranks[0].dropped, found.ranks[1].dropped) == (6, 0)
    assert found.since == 6.0, "before that not all ranks are known"
    assert summarise(found)["dropped"] == 6


def test_names_and_times_come_back(tmp_path: Path) -> None:
    recorder = _recorder(tmp_path, limit=10)
    recorder.phase("reduce_scatter", step=7)
    recorder.fault("kill", text="kill 3 @ step 20 phase all_gather")
    recorder.phase("x" * 100)
    recorder.close()
    one = loading.load(tmp_path).ranks[0]
    assert one.named(PHASE) == [(9.0, "reduce_scatter", 7), (9.0, "x" * 48, -1)]
    assert one.named(FAULT) == [(9.0, "kill 3 @ step 20 phase all_gather", -1)]


def test_a_killed_rank_leaves_its_events(tmp_path: Path) -> None:
    """Without an end of the recording, all that was recorded is there, and the rank counts as killed."""
    (tmp_path / TRACES).mkdir()
    if (child := os.fork()) == 0:
        recorder = _recorder(tmp_path, limit=100)
        recorder.waited(Wait.POLL, 1.0, 12.0, NO_PEER, 0)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    found = loading.load(tmp_path)
    assert found.ranks[0].killed
    assert (found.events, found.until) == (1, 12.0)


def test_to_begin_and_to_end_takes_no_emulated_time(tmp_path: Path) -> None:
    """Also where a rank's own CPU time advances its clock."""
    clocks: list[float] = []

    def program(comm: Any) -> None:
        sum(range(100_000))
        clocks.append(comm.engine.clock.t)
        recorder = tracing.begin(comm, tmp_path, clock="simulated")
        clocks.append(comm.engine.clock.t)
        sum(range(100_000))
        tracing.end(comm, recorder)
        clocks.append(comm.engine.clock.t)

    sim.run(program, 1, "10gbe", compute="measured")
    assert clocks[0] == clocks[1] == clocks[2]


def test_nothing_is_recorded_after_the_end(tmp_path: Path) -> None:
    recorder = _recorder(tmp_path, limit=100)
    recorder.close()
    recorder.waited(Wait.POLL, 1.0, 2.0, NO_PEER, 0)
    recorder.phase("late")
    recorder.close()
    assert loading.load(tmp_path).events == 0


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UsageError, match="--trace-limit"):
        _recorder(tmp_path, limit=10)
    assert not list((tmp_path / TRACES).iterdir())


def test_a_full_disk_at_the_end_costs_the_pictures_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = _recorder(tmp_path, limit=10)
    recorder.waited(Wait.POLL, 9.0, 10.0, NO_PEER, 0)
    recorder.close()

    def full(*_: object) -> None:
        raise CannotWrite(tmp_path / perfetto.FILE, "No space left on device")

    monkeypatch.setattr(perfetto, "write", full)
    timeline = folder.conclude(tmp_path)
    assert timeline["events"] == 1
    assert "No space left" in timeline["unwritten"]
    assert (tmp_path / diagram.PAGE).exists()
    assert any("No space left" in getattr(item, "text", "") for item in brief(timeline))


def test_many_ranks_keep_fewer_events_each() -> None:
    assert default_limit(4) == 20_000
    assert default_limit(100) == 4000
    assert default_limit(100_000) == 200


@pytest.mark.parametrize(("length", "rows"), [(HEADER + 2 * ROW.itemsize + 5, 2), (HEADER, 0), (HEADER - 100, 0)])
def test_a_file_that_was_cut_off_keeps_its_whole_rows(tmp_path: Path, length: int, rows: int) -> None:
    recorder = Recorder(tmp_path / "000-00000.bin", 0, 1, lambda: 1.0, 10)
    for _ in range(4):
        recorder.phase("work")
    recorder.close()
    os.truncate(tmp_path / "000-00000.bin", length)
    (rank,) = loading.load(tmp_path).ranks
    assert len(rank.rows) == rows
