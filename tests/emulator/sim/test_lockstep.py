"""Ranks that make a collective's steps together: payloads and times to the bit as in the event loop."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import emulator
from emulator import carrier, sim
from emulator.carrier import Instrument
from emulator.sim import lockstep
from emulator.sim.failures import Failures
from primitives.collectives.all_reduce import all_reduce, prepare

FLAT = "100gbe"


class _Listener(Instrument):
    """Hears of every message, so that each passes the event loop."""

    def sent(self, *arguments: Any) -> None:
        pass


def training(comm: Any, algorithm: str, count: int, listens: bool, late: float = 0.0) -> tuple[bytes, float, list[Any]]:
    """Three rounds of compute and all-reduce, and messages to a neighbour before and after each."""
    rank, size = comm.Get_rank(), comm.Get_size()
    if listens:
        carrier.of(comm).instruments.append(_Listener())
    x = np.random.default_rng(rank).standard_normal(count).astype(np.float32)
    box = np.empty(3)
    for _ in range(3):
        emulator.compute(comm, 1e-5 + late * rank)
        x = all_reduce(comm, x, algorithm=algorithm)
        request = comm.Irecv(box, (rank - 1) % size, 3)
        comm.Send(np.full(3, float(x[0]) if count else 0.0), (rank + 1) % size, 3)
        request.Wait()
    return x.tobytes(), emulator.now(comm), [float(one) for one in box]


def both(ranks: int, network: Any, monkeypatch: pytest.MonkeyPatch, *arguments: Any, **named: Any) -> tuple[int, int]:
    """Compare a training with one in the event loop; how many collectives ran together, and how many were begun so."""
    runs: list[lockstep.Lockstep] = []
    join = lockstep.Lockstep.join

    def counted(run: lockstep.Lockstep, comm: Any, collective: Any) -> bool:
        if comm.Get_rank() == 0:
            runs.append(run)
        return join(run, comm, collective)

    monkeypatch.setattr(lockstep.Lockstep, "join", counted)
    together = sim.run(lambda comm: training(comm, *arguments, listens=False, **named), ranks, network)
    begun = len(runs)
    alone = sim.run(lambda comm: training(comm, *arguments, listens=True, **named), ranks, network)
    assert len(runs) == begun  # a listener keeps every rank in the event loop
    assert together.results == alone.results
    assert together.clocks == alone.clocks
    assert together.messages == alone.messages
    return sum(run.complete for run in runs), begun


@pytest.mark.parametrize("ranks", [4, 5, 8, 70])
@pytest.mark.parametrize("count", [1, 67, 140, 5001])
def test_a_ring_gives_the_bits_of_the_event_loop(ranks: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert both(ranks, FLAT, monkeypatch, "ring", count) == (3, 3)


@pytest.mark.parametrize("ranks", [4, 16])
def test_so_do_halving_and_doubling(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert both(ranks, FLAT, monkeypatch, "rabenseifner", 5000) == (3, 3)


def test_ranks_that_do_unlike_things_make_their_recorded_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    complete, begun = both(6, FLAT, monkeypatch, "rabenseifner", 5000)
    assert complete == 0
    assert begun >= 1


def test_ranks_that_begin_more_than_a_latency_apart_go_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert both(8, FLAT, monkeypatch, "ring", 100, late=2e-6)[0] == 0


def test_ranks_that_begin_within_a_latency_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert both(8, FLAT, monkeypatch, "ring", 100, late=1e-7) == (3, 3)


@pytest.mark.parametrize("network", ["cloud-cross-zone", "volunteers", "wan", "home"])
def test_other_networks_give_the_bits_of_the_event_loop(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both(8, network, monkeypatch, "ring", 100)


def test_a_collective_that_is_kept_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[int] = []
    found = lockstep.Lockstep._recorded
    monkeypatch.setattr(lockstep.Lockstep, "_recorded", lambda run: recorded.append(1) or found(run))

    def program(comm: Any, listens: bool) -> tuple[bytes, float]:
        if listens:
            carrier.of(comm).instruments.append(_Listener())
        x = np.full(50, float(comm.Get_rank()))
        plan = prepare(comm, x, x, algorithm="ring")
        for _ in range(4):
            emulator.compute(comm, 1e-6)
            plan.run()
        return x.tobytes(), emulator.now(comm)

    together = sim.run(partial(program, listens=False), 8, FLAT)
    assert len(recorded) == 1
    assert together.results == sim.run(partial(program, listens=True), 8, FLAT).results


def test_a_message_under_way_keeps_the_ranks_apart() -> None:
    def program(comm: Any, listens: bool) -> tuple[float, float]:
        if listens:
            carrier.of(comm).instruments.append(_Listener())
        rank, size = comm.Get_rank(), comm.Get_size()
        send = comm.Isend(np.ones(1 << 16), (rank + 3) % size, 9)
        x = all_reduce(comm, np.ones(512), algorithm="ring")
        now = emulator.now(comm)
        comm.Recv(np.empty(1 << 16), (rank - 3) % size, 9)
        send.Wait()
        return now, float(x[0])

    assert sim.run(partial(program, listens=False), 8, FLAT).results == (
        sim.run(partial(program, listens=True), 8, FLAT).results
    )


def test_the_rank_whose_operation_fails_is_named() -> None:
    def program(comm: Any) -> None:
        def operation(a: Any, b: Any) -> Any:
            if comm.Get_rank() == 5:
                raise ValueError("no sum")
            return a + b

        all_reduce(comm, np.ones(64), op=operation, algorithm="ring")
        went_on.append(comm.Get_rank())

    went_on: list[int] = []
    with pytest.raises(ValueError, match="no sum") as failed:
        sim.run(program, 8, FLAT)
    assert went_on == []
    assert "simulated rank 5" in failed.value.__notes__[0]


def test_ranks_that_may_die_go_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "run", lambda *arguments: pytest.fail("made steps together"))
    sim.run(lambda comm: all_reduce(comm, np.ones(64), algorithm="ring"), 8, FLAT, failures=Failures())
