"""The injector: what fires when, once, and on whose account; and the kernel's timer."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from emulator.core.instruments import Instrument
from faults.inject.injector import Injector
from faults.plan.events import resolve
from faults.plan.grammar import parse
from faults.platform import LOCAL, Clock, Platform
from faults.record import journal
from faults.record.status_board import StatusBoard

SLEEPER = """
import signal, time
from faults.platform import LOCAL
LOCAL.executioner.strike(signal.{signal}, time.monotonic() + {delay})
sum(range(10**12))  # one call into C that lasts for ever
"""


class GivenClock(Clock):
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.t, self.slept = 100.0, []
        self.now, self.sleep = lambda: self.t, self.slept.append


def injector(
    tmp_path, lines: list[str], place: int = 1, seen: list[str] | None = None, platform: Platform = LOCAL
) -> Injector:
    events = resolve([parse(line) for line in lines], 4)
    (tmp_path / "journal").mkdir(exist_ok=True)
    path = tmp_path / "board"
    make = StatusBoard if path.exists() else StatusBoard.create
    board = make(path, 8, len(events), platform)
    note = (lambda event: seen.append(event.text)) if seen is not None else (lambda event: None)
    made = Injector(events, board, journal.Journal(tmp_path / "journal", place), place, place)
    made.handle(dict.fromkeys(("corrupt", "full", "lose", "cut"), note))
    return made


@pytest.mark.parametrize(("name", "status"), [("SIGKILL", -signal.SIGKILL), ("SIGTERM", -signal.SIGTERM)])
def test_a_kernel_timer_reaches_a_process_inside_a_call(name: str, status: int) -> None:
    program = SLEEPER.format(signal=name, delay=0.05)
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == status


def test_an_instant_that_has_passed_strikes_at_once() -> None:
    program = SLEEPER.format(signal="SIGKILL", delay=-1)
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -signal.SIGKILL


CANCELS = """
import signal, time
from faults.platform import LOCAL
executioner, signals, delay = LOCAL.executioner, {signal.SIGUSR1}, 0.05
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
while True:
    due = time.monotonic() + delay
    executioner.cancel(executioner.strike(signal.SIGUSR1, due))
    if time.monotonic() < due:
        break
    signal.sigtimedwait(signals, 0)  # this process did not get its core back in time to cancel it
    delay *= 2
executioner.strike(signal.SIGTERM, due + 0.05)
signal.sigwait(signals)
"""


def test_a_cancelled_timer_does_not_strike() -> None:
    assert subprocess.run([sys.executable, "-c", CANCELS], timeout=60).returncode == -signal.SIGTERM


def test_an_event_fires_at_its_step_and_its_place_only(tmp_path) -> None:
    seen: list[str] = []
    faults = injector(tmp_path, ["full 1 @ step 3", "full 2 @ step 3"], seen=seen)
    for step in range(6):
        faults.at_step(step)
    assert seen == ["full 1 @ step 3"]


def test_instruments_hear_of_a_fault_when_it_fires(tmp_path) -> None:
    heard: list[tuple[str, object]] = []

    class Listener(Instrument):
        def fault(self, kind: str, **info: object) -> None:
            heard.append((kind, info["text"]))

    faults = injector(tmp_path, ["full 1 @ step 3", "full 2 @ step 3"])
    faults.instruments = [faults, Listener(), Listener()]
    for step in range(6):
        faults.at_step(step)
    assert heard == [("full", "full 1 @ step 3")] * 2


def test_an_event_fires_once_whoever_holds_the_place(tmp_path) -> None:
    seen: list[str] = []
    for _ in range(2):  # the second is a process that was called into the place
        faults = injector(tmp_path, ["full 1 @ step 3"], seen=seen)
        faults.at_step(3)
    assert len(seen) == 1


def test_a_phase_is_met_in_its_step(tmp_path) -> None:
    seen: list[str] = []
    faults = injector(tmp_path, ["full 1 @ step 2 phase all_gather", "full 1 @ phase restore"], seen=seen)
    for step in range(4):
        faults.at_step(step)
        faults.phase("reduce_scatter")
        faults.phase("all_gather")
    assert seen == ["full 1 @ step 2 phase all_gather"]
    faults.phase("restore")
    assert len(seen) == 2


def test_recovery_and_emulated_time_are_instants_too(tmp_path) -> None:
    seen: list[str] = []
    faults = injector(tmp_path, ["full 1 @ recovery", "full 1 @ emulated 2 s"], seen=seen)
    faults.at_emulated(1.9)
    assert seen == []
    faults.at_emulated(2.1)
    faults.at_recovery()
    faults.at_recovery()
    assert sorted(seen) == ["full 1 @ emulated 2 s", "full 1 @ recovery"]


@pytest.mark.parametrize(("line", "acting"), [("cut 2|0,3 @ step 0", [0, 2, 3]), ("cut 2>3 @ step 0", [2])])
def test_a_cut_is_made_by_every_rank_that_sends_across_it(tmp_path, line: str, acting: list[int]) -> None:
    made = []
    for place in range(4):
        seen: list[str] = []
        injector(tmp_path, [line], place, seen).at_step(0)
        made += [place] * len(seen)
    assert made == acting


def test_what_is_to_happen_later_waits_for_its_instant(tmp_path) -> None:
    seen: list[str] = []
    clock = GivenClock()
    lines = ["full 1 @ time 2 s", "full 1 @ step 1 + 5 s"]
    faults = injector(tmp_path, lines, seen=seen, platform=Platform(clock))
    faults.begin(100.0)
    faults.at_step(1)
    assert (seen, list(faults._board.fired)) == ([], [0.0, 0.0])
    clock.t = 103.0
    faults.at_step(2)
    assert seen == ["full 1 @ time 2 s"]
    clock.t = 106.0
    faults.phase("all_gather")
    assert len(seen) == 2


def test_what_fired_is_in_the_journal_and_on_the_board(tmp_path) -> None:
    faults = injector(tmp_path, ["full 1 @ step 0"], seen=[])
    faults.at_step(0)
    (record,) = journal.read(tmp_path / "journal")
    board = StatusBoard(tmp_path / "board", 8, 1)
    assert (record["what"], record["event"], record["due"]) == ("fault", "0.1", board.fired[0])


@pytest.mark.parametrize(
    ("how", "expected"),
    [("-1", [-1.0, 2.0]), ("10", [10.0, -20.0]), ("nan", [np.nan, np.nan])],
)
def test_a_liar_says_something_else_than_it_means(tmp_path, how: str, expected: list[float]) -> None:
    faults = injector(tmp_path, [f"lie 1 @ step 1 by {how}"])
    truth = np.array([1.0, -2.0])
    assert faults.falsified(truth) is truth
    faults.at_step(1)
    np.testing.assert_array_equal(faults.falsified(truth), expected)
    np.testing.assert_array_equal(truth, [1.0, -2.0])


def test_a_random_lie_is_another_one_each_time(tmp_path) -> None:
    faults = injector(tmp_path, ["lie 1 @ step 1 by random"])
    faults.at_step(1)
    truth = np.array([1.0, -2.0])
    one, other = faults.falsified(truth), faults.falsified(truth)
    assert one.shape == truth.shape
    assert np.isfinite(one).all()
    assert not np.array_equal(one, truth)
    assert not np.array_equal(one, other)


def test_a_lie_ends_by_itself(tmp_path) -> None:
    faults = injector(tmp_path, ["lie 1 @ step 0 for 1 ns"])
    faults.at_step(0)
    truth = np.ones(3)
    assert faults.falsified(truth) is truth


def test_a_slow_rank_sleeps_for_the_rest_of_its_time(tmp_path) -> None:
    clock = GivenClock()
    faults = injector(tmp_path, ["slow 1 @ step 0 by 4"], platform=Platform(clock))
    faults.stretch(0.5)
    faults.at_step(0)
    faults.stretch(0.5)
    assert clock.slept == [1.5]
