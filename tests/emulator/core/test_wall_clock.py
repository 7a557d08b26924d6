"""Clocks and waiting, without MPI."""

from __future__ import annotations

import os
import time

import pytest

from emulator.core import wall_clock


def test_sleep_until_never_returns_early() -> None:
    wall_clock.sharpen_sleep()
    for spin in (0.0, 60e-6):
        deadline = time.perf_counter() + 2e-3
        wall_clock.sleep_until(deadline, spin)
        assert time.perf_counter() >= deadline
    wall_clock.sleep_until(time.perf_counter() - 1.0)


def test_wait_until_returns_as_soon_as_it_is_ready() -> None:
    asked: list[int] = []

    def ready() -> bool:
        asked.append(1)
        return len(asked) == 20

    assert wall_clock.wait_until(ready)
    assert len(asked) == 20


def test_wait_until_gives_up() -> None:
    begin = time.perf_counter()
    assert not wall_clock.wait_until(lambda: False, timeout=0.02)
    assert time.perf_counter() - begin >= 0.02
    assert wall_clock.wait_until(lambda: True, timeout=0.0)


def test_waiting_leaves_the_core_to_others() -> None:
    """In a tenth of a second of waiting most of it is sleep: the thread's own CPU time says so."""
    used = time.thread_time()
    wall_clock.wait_until(lambda: False, timeout=0.5, longest=5e-3)
    assert time.thread_time() - used < 0.25


def test_pauses_grow_to_the_longest_and_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr(wall_clock.time, "sleep", naps.append)
    pause = wall_clock.Backoff(1e-3, yields=2)
    for _ in range(30):
        pause()
    assert len(naps) == 28
    assert naps == sorted(naps)
    assert naps[-1] == 1e-3
    pause.restart(1e-3)
    pause(), pause(), pause()
    assert naps[-1] == naps[0]
    pause.restart(5e-3, ramp=False)
    pause()
    assert naps[-1] == 5e-3


def test_a_pause_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr(wall_clock.time, "sleep", naps.append)
    pause = wall_clock.Backoff(1.0, yields=0)
    pause.restart(1.0, ramp=False)
    pause(deadline=time.perf_counter() + 1e-3)
    assert naps == [] or naps[0] <= 1e-3
    pause(deadline=time.perf_counter() - 1.0)
    assert len(naps) <= 1


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= wall_clock.cores() <= (os.cpu_count() or 1)
