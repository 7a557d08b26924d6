"""Detectors on a board whose time is given by the test."""

import math
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from faults import detect
from faults.detect import swim
from faults.detect.phi import PhiAccrual, phi
from faults.launch.watchdog import Watch
from faults.platform import LOCAL, Clock, Executioner, Platform
from faults.record.status_board import LEFT, WORKING, StatusBoard
from tests.processes import running


def board_of(tmp_path, members: int = 4) -> StatusBoard:
    board = StatusBoard.create(tmp_path / "board", members, 1)
    board.rows["state"][:3] = WORKING
    board.rows["beat"][:3] = 100.0
    return board


def test_silence_beyond_the_limit_is_suspected_and_nothing_else(tmp_path) -> None:
    board = board_of(tmp_path)
    heartbeat = detect.Heartbeat(board, 0.5)
    assert heartbeat(100.4) == []
    board.rows["beat"][:2] = 100.4
    assert heartbeat(100.6) == [2]


def test_who_has_left_or_never_came_is_not_missed(tmp_path) -> None:
    board = board_of(tmp_path)
    board.rows["state"][0] = LEFT
    assert detect.Heartbeat(board, 0.5)(200.0) == [1, 2]


@given(deviation=st.floats(1e-3, 1.0), silences=st.lists(st.floats(0, 100), min_size=2))
def test_phi_grows_with_the_silence(deviation: float, silences: list[float]) -> None:
    values = [phi(silence, 0.1, deviation) for silence in sorted(silences)]
    assert values == sorted(values)
    assert all(math.isfinite(value) for value in values)


def test_phi_is_the_logarithm_of_the_false_alarms() -> None:
    assert phi(0.1, 0.1, 0.02) == pytest.approx(-math.log10(0.5))
    assert phi(0.1 + 1.6449 * 0.02, 0.1, 0.02) == pytest.approx(-math.log10(0.05), rel=1e-3)


@pytest.mark.parametrize(("jitter", "patience"), [(0.0, 0.6), (0.4, 3.0)])
def test_phi_is_patient_with_whoever_was_always_irregular(tmp_path, jitter: float, patience: float) -> None:
    board = board_of(tmp_path)
    watch, now = PhiAccrual(board, 0.4), 100.0
    for beat in range(60):
        now += 0.05 + jitter * (beat % 3 == 0)
        board.rows["beat"][:3] = now
        watch(now)
    assert watch(now + patience / 3) == []
    assert watch(now + patience) == [0, 1, 2]


def test_phi_falls_back_on_the_limit_for_whom_it_does_not_know(tmp_path) -> None:
    watch = PhiAccrual(board_of(tmp_path), 0.4)
    assert watch(100.3) == []
    assert watch(100.5) == [0, 1, 2]


def test_the_limit_grows_with_the_ranks_per_core() -> None:
    assert detect.limit_for(1000, cores=2) > detect.limit_for(100, cores=2) > 0


def test_an_unknown_detector_is_refused() -> None:
    with pytest.raises(UsageError, match="runtime, heartbeat, phi"):
        detect.of("crystal ball")


def test_who_is_accused_by_others_is_suspected_until_a_sign_of_life_that_is_newer(tmp_path) -> None:
    board = StatusBoard.create(tmp_path / "board", 3, 0)
    accused = detect.of("swim").watcher(board, 1.0)
    for member in (0, 1):
        board.enter(member, member, 0)
    board.rows["suspected"] = time.monotonic()  # member 2 has not come yet
    assert accused(0.0) == [0, 1]
    assert int(board.refuted[0]) == 0
    board.beat(1)  # it has begun a step, or runs
    assert accused(0.0) == [0]
    assert (int(board.refuted[0]), float(board.rows["suspected"][1])) == (1, 0.0)
    board.leave(0)
    assert accused(0.0) == []


class Turned(Clock):
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.t = 100.0
        self.now = lambda: self.t


def test_members_of_a_group_find_the_one_that_does_not_answer(tmp_path, monkeypatch) -> None:
    """Three members that ask and answer over real datagrams, of which one does nothing."""
    monkeypatch.setattr(swim, "_LOOK_S", 1e-3)
    clock = Turned()
    board = StatusBoard.create(tmp_path / "board", 3, 0, Platform(clock))
    for member in range(3):
        board.enter(member, member, 0)
    groups = [swim.Member(board, member, 3, 0, limit_s=0.2) for member in (0, 2)]
    for _ in range(5000):
        for group in groups:
            group.turn()
        clock.t += 1e-3  # a ping and its answer take a few turns, the limit is 200
        if board.rows["suspected"][1]:
            break
    assert (board.rows["suspected"] > 0).tolist() == [False, True, False]
    for group in groups:
        group.close()


PATIENCE_S = 20.0


def look(process: int, heart: int) -> tuple[bool, bool]:
    """Whether a process runs, without and with its heartbeat thread."""
    return LOCAL.executioner.runs(process), LOCAL.executioner.runs(process, heart)


BUSY_HEART = """
import threading, time
def turn():
    while True: pass
heart = threading.Thread(target=turn, daemon=True)
heart.start()
print(heart.native_id, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("program", "first", "with_heart"),
    [
        ("print(0, flush=True)\nwhile True: pass", True, True),
        ("import time\nprint(0, flush=True)\ntime.sleep(60)", False, False),
        (BUSY_HEART, False, True),
    ],
)
def test_who_computes_in_its_first_thread_or_in_its_heart_runs(program: str, first: bool, with_heart: bool) -> None:
    with running([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        heart = int(process.stdout.readline())
        until = time.monotonic() + PATIENCE_S
        looks: set[tuple[bool, bool]] = set()
        # Until a hundred in a row are as expected: a thread that waits for Python's lock sleeps, and then runs again.
        while looks != {(first, with_heart)} and time.monotonic() < until:
            looks = {look(process.pid, heart) for _ in range(100)}
        process.kill()
    assert looks == {(first, with_heart)}
    assert not LOCAL.executioner.runs(process.pid, heart)


class Observed(Executioner):
    """Processes in the states that the test gives; `sent` are those that were killed."""

    def __init__(self, board: StatusBoard, states: list[str], beats_at: int | None = None) -> None:
        super().__init__()
        self.board, self.states, self.beats_at, self.looks, self.sent = board, states, beats_at, 0, []

    def state(self, process: int) -> str:
        if process == 0:  # of no heartbeat thread
            return ""
        self.looks += 1
        if self.looks == self.beats_at:  # the thread beats after the detector has looked, and sleeps again
            self.board.beat(0)
        return self.states[min(self.looks, len(self.states)) - 1]

    def send(self, process: int, number: int = signal.SIGKILL) -> bool:
        self.sent.append(process)
        return True


@pytest.mark.parametrize(
    ("states", "beats_at", "killed"),
    [
        (["S"], None, True),
        (["T"], None, True),
        (["R"], None, False),
        (["D"], None, False),  # a slow disk below the mapped board
        (["S"] * 4 + ["R", "R", "S"], None, False),  # the whole machine had paused
        (["S"], 2, False),  # between the two looks
    ],
)
def test_only_a_process_that_stays_silent_and_asleep_is_killed(tmp_path, states, beats_at, killed: bool) -> None:
    clock = Clock()
    board = StatusBoard.create(tmp_path / "board", 1, 0, Platform(clock))
    board.rows["state"], board.rows["pid"], board.rows["beat"] = WORKING, 7, clock.now() - 10.0
    observed = Observed(board, states, beats_at)
    board.platform = Platform(clock, observed)
    dog = Watch(tmp_path, board, 1.0, 1.0, detect.Heartbeat(board, 5.0))
    for _ in range(6):
        dog._fence(clock.now())
    assert observed.sent == ([7] if killed else [])


def test_nothing_moves_is_said_from_the_first_step_on(tmp_path) -> None:
    """Until then only the deadline ends a launch: imports and data take what a busy machine leaves them."""
    clock = Clock()
    board = StatusBoard.create(tmp_path / "board", 1, 0, Platform(clock))
    (tmp_path / "journal").mkdir()
    board.rows["state"], board.rows["pid"] = WORKING, 7
    dog = Watch(tmp_path, board, 10.0, 120.0)
    dog._executioner = Observed(board, ["S"])
    dog._at_start = board.rows["step"].tobytes()

    def said(at: float) -> str:
        dog._looked = 0.0
        return dog._complaint(at, 1.0)

    assert said(2.0) == said(100.0) == ""
    assert said(122.0) == "the deadline of 120 s passed"
    board.rows["step"] += 1
    assert said(101.0) == said(111.0) == ""
    assert said(111.5) == "nothing moved for 10 s"
