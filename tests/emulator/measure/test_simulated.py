"""Jobs on simulated ranks: replayed where a replay is exact, and checked against ranks that run."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import emulator
from demos._lib.timing import phantoms
from emulator import network, sim
from emulator.measure import repetitions, simulated
from emulator.measure.series import Job, Series, Stop
from emulator.sim.collectives import lockstep
from emulator.sim.schedule import replay
from primitives.collectives.all_reduce import all_reduce

SIZES = (64, 4096, 1 << 16)
ITEM = np.dtype(np.float64)


def timed(comm: Any, replayed: bool, seconds: float = 0.0) -> list[Series]:
    """Time rings on all ranks, which compute for so long before; the replay does not know of that."""

    def once(size: int) -> None:
        emulator.compute(comm, seconds)
        all_reduce(comm, np.ones(size // 8), algorithm="ring")

    p = comm.Get_size()
    jobs = [
        Job("ring", p, size, tuple(range(p)), comm, partial(once, size), lambda: 0,
            schedule=partial(phantoms, "ring", size, ITEM) if replayed else None)
        for size in SIZES
    ]  # fmt: skip
    return repetitions.measure(comm.control.Dup(), jobs, Stop(10.0))


def series(ranks: int, *arguments: Any, net: str = "10gbe") -> list[Series]:
    found: list[Series] = sim.run(lambda comm: timed(comm, *arguments), ranks, net).results[0]
    return found


@pytest.mark.parametrize("ranks", [4, 7])
def test_a_replay_follows_a_live_run_and_gives_its_times(ranks: int) -> None:
    replayed, live = series(ranks, True), series(ranks, False)
    assert [one.wrong for one in replayed] == [0, None, None]
    assert [one.wrong for one in live] == [0, 0, 0]
    assert [one.seconds for one in replayed] == [pytest.approx(one.seconds, rel=1e-9) for one in live]


def test_a_replay_that_disagrees_with_the_ranks_is_declined() -> None:
    assert [one.wrong for one in series(4, True, 1e-3)] == [0, 0, 0]


def test_what_a_replay_is_compared_with_passes_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "run", lambda *arguments: pytest.fail("made steps together"))
    assert series(4, True)[0].wrong == 0


def test_many_ranks_do_not_run_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "CHECKED_RANKS", 4)
    assert [one.wrong for one in series(8, True)] == [None, None, None]


def test_a_network_whose_times_vary_replays_nothing() -> None:
    assert all(one.wrong == 0 for one in series(4, True, net="home"))


@pytest.mark.parametrize(("budget", "sizes"), [(1e-9, []), (1e9, list(SIZES))])
def test_many_ranks_that_must_run_are_left_out_where_the_budget_is_too_short(
    budget: float, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated, "CHECKED_RANKS", 4)

    def program(comm: Any) -> list[Series]:
        members = tuple(range(8))
        jobs = [
            Job("ring", 8, size, members, comm, partial(phantoms_once, size, comm), every_rank=True,
                schedule=partial(phantoms, "ring", size, ITEM))
            for size in SIZES
        ]  # fmt: skip
        return repetitions.measure(comm.control.Dup(), jobs, Stop(budget))

    assert [one.job.bytes for one in sim.run(program, 8, "10gbe").results[0]] == sizes


def phantoms_once(size: int, comm: Any) -> None:
    phantoms("ring", size, ITEM, comm).run()


def test_what_phantoms_have_summed_is_not_called_right() -> None:
    def program(comm: Any) -> list[Series]:
        p = comm.Get_size()

        def once() -> None:
            collective = phantoms("ring", 4096, ITEM, comm)
            collective.run()
            collective.free()

        schedule = partial(phantoms, "ring", 4096, ITEM)
        jobs = [Job("ring", p, 4096, tuple(range(p)), comm, once, None, schedule=schedule, every_rank=True)]
        return repetitions.measure(comm.control.Dup(), jobs, Stop(10.0))

    (found,) = sim.run(program, 5, "10gbe").results[0]
    assert found.wrong is None
    expected = replay(partial(phantoms, "ring", 4096, ITEM), 5, network.load("10gbe").sized(5)).seconds
    assert found.seconds == [pytest.approx(expected, rel=1e-9)]
