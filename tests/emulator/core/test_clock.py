"""The logical clock, without MPI."""

from __future__ import annotations

import pytest

from emulator.core import clock


def test_a_logical_clock_counts_this_threads_work_between_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU time of 1 s between two calls counts three times; that of a call itself, and of a pause, does not."""
    cpu = [10.0]
    monkeypatch.setattr(clock.time, "thread_time", lambda: cpu[0])
    logical = clock.Clock(slowdown=3.0)
    cpu[0] = 11.0
    logical.enter()
    assert logical.t == 3.0
    cpu[0] = 12.0
    logical.leave()
    cpu[0] = 12.5
    logical.enter()
    assert logical.t == 4.5
    logical.pause()
    cpu[0] = 20.0
    logical.enter()
    assert logical.t == 4.5
    logical.leave()
    cpu[0] = 21.0
    logical.enter()
    assert logical.t == 7.5
