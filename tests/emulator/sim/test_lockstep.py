"""Ranks that make a collective's steps together: payloads and times to the bit as in the event loop."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import emulator
from emulator import carrier, sim
from emulator.carrier import Instrument
from emulator.network.topology import Racks
from emulator.sim.collectives import lockstep
from emulator.sim.failures import Failures
from primitives.collectives import ring
from primitives.collectives.all_reduce import all_reduce, prepare
from tests.emulator.sim.programs import Program
from tests.emulator.small_networks import plain

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


@pytest.mark.parametrize("ranks", [4, 5, 8, 20])
@pytest.mark.parametrize("count", [1, 17, 40, 5001])
def test_a_ring_gives_the_bits_of_the_event_loop(ranks: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "EMULATED_KEPT", 16)  # more ranks keep no requests
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
    found = lockstep.CommonSteps.schedule
    monkeypatch.setattr(lockstep.CommonSteps, "schedule", lambda run: recorded.append(1) or found(run))

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


def _with_and_without(program: Program, monkeypatch: pytest.MonkeyPatch, network: Any = FLAT) -> list[Any]:
    """Run a program with the steps made together where they may be, and never; what each run gave or raised."""
    seen: list[Any] = []
    for applies in (lockstep.applies, lambda *_: False):
        monkeypatch.setattr(lockstep, "applies", applies)
        try:
            outcome = sim.run(program, 8, network)
            seen.append((outcome.results, outcome.clocks, outcome.messages))
        except Exception as error:
            seen.append((type(error), str(error), getattr(error, "__notes__", None)))
    return seen


def _computing(comm: Any) -> Any:
    """An operation that takes simulated time, and looks at the clock."""
    times = []

    def operation(a: Any, b: Any) -> Any:
        emulator.compute(comm, 1e-6 * a.size)
        times.append(emulator.now(comm))
        return a + b

    return all_reduce(comm, np.ones(64), op=operation, algorithm="ring").tolist(), times


def _sending(comm: Any) -> Any:
    """An operation that sends messages of its own."""
    rank, size, box = comm.Get_rank(), comm.Get_size(), np.empty(1)

    def operation(a: Any, b: Any) -> Any:
        comm.Sendrecv(np.ones(1), (rank + 1) % size, 5, box, (rank - 1) % size, 5)
        return a + b

    return all_reduce(comm, np.ones(64), op=operation, algorithm="ring").tolist(), emulator.now(comm)


def _overflowing(comm: Any, algorithm: str, runs: int) -> Any:
    """Two ranks' product overflows in the last run, which they catch; others wait for them for ever."""
    x = np.ones(64)
    plan = prepare(comm, x, x, op="prod", algorithm=algorithm)
    with np.errstate(over="raise"):
        for _ in range(runs - 1):
            plan.run()
        x[:] = 1e200 if comm.Get_rank() in (2, 3) else 1.0
        emulator.compute(comm, 1e-7 * comm.Get_rank())
        try:
            plan.run()
        except FloatingPointError:
            comm.Send(np.full(1, emulator.now(comm)), 0, 6)


def _refused_everywhere(comm: Any, algorithm: str) -> Any:
    """An operation that numpy refuses on every rank, which each catches; the next collective works."""
    with pytest.raises(TypeError):
        all_reduce(comm, np.ones(10), op=np.bitwise_and, algorithm=algorithm)
    return all_reduce(comm.Dup(), np.ones(10), algorithm=algorithm).tolist(), emulator.now(comm)


def _raising_on_one(comm: Any) -> Any:
    """One rank alone wants an overflow to raise."""
    with np.errstate(over="raise" if comm.Get_rank() == 3 else "ignore"):
        return all_reduce(comm, np.full(64, 1e300), op="prod", algorithm="ring").tolist()


def _other_dtypes(comm: Any) -> Any:
    """As many bytes on each rank, but not in blocks of the same length."""
    return all_reduce(comm, np.ones(10, np.float32) if comm.Get_rank() % 2 else np.ones(5), algorithm="ring").tolist()


def _segments(comm: Any) -> Any:
    """More segments in flight than there are rounds with a send: the last rounds receive only."""
    return [
        (all_reduce(comm, np.arange(float(n)), algorithm="ring", segment=64).tolist(), emulator.now(comm))
        for n in (100, 1000, 5001)
    ]


@pytest.mark.parametrize(
    "program",
    [
        _computing, _sending, _raising_on_one, _other_dtypes, _segments,
        *(partial(_overflowing, algorithm=one, runs=runs) for one in ("ring", "rabenseifner") for runs in (1, 2)),
        *(partial(_refused_everywhere, algorithm=one) for one in ("ring", "rabenseifner")),
    ],
)  # fmt: skip
def test_what_an_operation_does_is_seen_as_in_the_event_loop(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    together, alone = _with_and_without(program, monkeypatch)
    assert together == alone


def test_on_links_that_hosts_share_no_rank_waits_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "run", lambda *_: pytest.fail("waited for others"))
    network = plain(8, topology=Racks(2, 1.6e-9, 1e-3))
    sim.run(lambda comm: all_reduce(comm, np.ones(64), algorithm="ring"), 8, network)
