"""What is said of a --budget that the jobs did not fit into."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from demos._lib import timing
from emulator.run.console import Progress


@pytest.mark.parametrize(("took", "said"), [(4.9, 0), (36.0, 1)])
def test_a_budget_that_was_too_short_is_warned_of(monkeypatch: pytest.MonkeyPatch, took: float, said: int) -> None:
    clock, warnings = iter([0.0, took]), list[str]()
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(timing, "measure", lambda *arguments, **named: [])
    run = SimpleNamespace(
        budget=2.0, seed=0, clock="wall", control=None, under_way=[], launch=SimpleNamespace(of=1),
        options=SimpleNamespace(budget=2.0),
        progress=lambda *arguments: nullcontext(Progress()), warn=warnings.append,
    )  # fmt: skip
    assert timing.timed(run, []) == []
    assert len(warnings) == said
    assert all("did not fit into --budget 2: each of them runs at least twice" in text for text in warnings)
