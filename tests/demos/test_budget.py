"""What a demo leaves out because --budget or memory is too small for it, and what it says of that."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from demos import gossip, parameter_server
from demos._lib import push_pull, timing
from demos._lib.cases.shared_training import Task
from emulator.errors import UsageError
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


def _run(ranks: int, *sizes: int, clock: str = "simulated") -> Any:
    said: list[str] = []
    return SimpleNamespace(
        clock=clock, size=ranks, sizes=list(sizes), budget=15.0, warn=said.append, said=said,
        on_root=lambda function: function(), result={"environment": {"hosts": ["here"]}},
    )  # fmt: skip


def test_jobs_are_affordable_as_long_as_they_fit_together() -> None:
    assert timing.affordable([("a", 3.0), ("b", 9.0), ("c", 2.0), ("d", 0.0)], 5.0) == ["a", "c", "d"]


def test_many_simulated_ranks_leave_out_sizes_beyond_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 30))
    run = _run(128, 8, 1 << 20, 1 << 22)
    timing.check_room(run, buffers=8)
    assert run.sizes == [8, 1 << 20]
    assert run.said == ["left out: 4M bytes: 128 ranks need 8 buffers of each and 1024 MiB are free"]
    for refused in (_run(128, 1 << 22), _run(64, 8, 1 << 22), _run(128, 8, 1 << 22, clock="wall")):
        with pytest.raises(UsageError, match="8 buffers each of the largest size"):
            timing.check_room(refused, buffers=8)


def test_pushes_and_pulls_that_many_simulated_ranks_have_no_time_for_are_named() -> None:
    run = _run(512, 64, 1 << 20)
    assert push_pull.affordable_jobs(run, [8, 512], 1, 12, run.budget) == [(8, 64), (8, 1 << 20), (512, 64)]
    assert run.said == ["left out: push and pull of 1M bytes on 512 ranks, for which --budget 15 is too short"]
    assert len(push_pull.affordable_jobs(_run(64, 64, 1 << 20), [8, 64], 1, 12, 0.0)) == 4


@pytest.mark.parametrize(("ranks", "some"), [(64, False), (1024, True)])
def test_many_simulated_ranks_train_for_fewer_iterations(ranks: int, some: bool) -> None:
    run = _run(ranks)
    task = Task(1, 120, 2e-3, options={"replicas": 1})
    found = parameter_server._affordable(run, task)
    assert (1 <= found.steps < 120) == some
    said = f"{found.steps} of 120 iterations were trained: --budget 15 is too short for all"
    assert run.said == [said] * some


def test_graphs_with_too_many_edges_for_many_simulated_ranks_are_named() -> None:
    run = _run(1024)
    assert gossip._affordable(run, ("ring", "complete", "torus")) == ("ring", "torus")
    assert run.said == ["left out: complete on 1024 ranks, for whose messages --budget 15 is too short"]
    assert gossip._affordable(_run(64), ("complete",)) == ("complete",)
    with pytest.raises(UsageError, match="4 rounds on 1024 ranks take 4190208 messages, for which --budget 15"):
        gossip._affordable(run, ("complete",))
