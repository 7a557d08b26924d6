"""The simulated carrier alone: closed forms, order of messages, polls, deadlocks, errors, phantoms."""

from __future__ import annotations

import copy
import gc
import signal
import time
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

import emulator
from emulator import carrier, costs, network, sim
from emulator.errors import UsageError
from primitives.collectives.all_reduce import all_reduce
from primitives.collectives.operations import Operation
from tests.emulator.sim import random_programs
from tests.emulator.small_networks import ALPHA, BETA, plain


def exactly(seconds: float) -> Any:
    return pytest.approx(seconds, rel=1e-9)


@pytest.mark.parametrize("p", [2, 3, 8, 64, 128])
@pytest.mark.parametrize("algorithm", ["ring", "recursive_doubling", "tree", "k_ary_tree"])
def test_an_all_reduce_takes_the_closed_form(p: int, algorithm: str) -> None:
    def program(comm: Any) -> int:
        total = all_reduce(comm, np.full(1024, float(comm.Get_rank())), algorithm=algorithm)
        return int((total != p * (p - 1) / 2).sum())

    outcome = sim.run(program, p, plain(p))
    assert outcome.results == [0] * p
    assert outcome.seconds == exactly(costs.exact(algorithm, p, 1024, 8, ALPHA, BETA))


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_a_simulation_is_repeatable_and_loses_nothing(seed: int, p: int) -> None:
    run = partial(sim.run, partial(random_programs.program, seed=seed), p, "10gbe")
    assert run() == run()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8, unique=True))
def test_a_server_hears_its_clients_in_the_order_of_their_messages(delays_us: list[int]) -> None:
    """Whatever the order in which ranks happen to run."""

    def program(comm: Any) -> Any:
        if comm.Get_rank():
            emulator.compute(comm, delays_us[comm.Get_rank() - 1] * 1e-6)
            comm.send(comm.Get_rank(), 0)
            return None
        return [comm.recv(source=MPI.ANY_SOURCE) for _ in delays_us]

    p = len(delays_us) + 1
    heard = sim.run(program, p, plain(p)).results[0]
    assert heard == sorted(range(1, p), key=lambda rank: delays_us[rank - 1])


def test_a_poll_lets_time_pass_to_the_message() -> None:
    def program(comm: Any) -> Any:
        if comm.Get_rank() == 1:
            emulator.compute(comm, 0.01)
            comm.Send(np.zeros(100, "B"), 0)
            return None
        box = np.zeros(100, "B")
        request, polls = comm.Irecv(box, 1), 1
        while not request.Test():
            polls += 1
        return polls, comm.now()

    polls, t = sim.run(program, 2, plain(2)).results[0]
    assert t == exactly(0.01 + ALPHA + 100 * BETA)
    assert polls < 500


def test_two_polls_of_a_rank_that_has_computed_take_no_time() -> None:
    """One may end what it did before, and one begin what follows; from the third on it waits."""

    def program(comm: Any) -> list[float]:
        emulator.compute(comm, 1.0)
        times = []
        for _ in range(4):
            comm.Iprobe(tag=1)
            times.append(comm.now())
        return times

    assert sim.run(program, 2, plain(2)).results[0] == [1.0, 1.0, exactly(1.0 + 1e-6), exactly(1.0 + 1e-6)]


def test_a_message_that_comes_while_a_rank_looks_for_it_is_seen_at_the_same_instant() -> None:
    """Without latency it has arrived when the second poll, which let rank 1 run, has found nothing."""

    def program(comm: Any) -> float:
        if comm.Get_rank() == 1:
            comm.Send(np.ones(1), 0)
        else:
            carrier.of(comm).wait_until(lambda: comm.Iprobe(1) or comm.Iprobe(1))
            comm.Recv(np.empty(1), 1)
        return float(comm.now())

    assert sim.run(program, 2, plain(2, alpha=0.0, beta=0.0)).results == [0.0, 0.0]


def test_a_rank_that_computes_sees_what_has_arrived_until_its_end() -> None:
    """The first message comes while rank 0 computes, which it does not cut short."""

    def program(comm: Any) -> list[bool]:
        if comm.Get_rank() == 1:
            comm.Send(np.ones(1), 0, 1)
            emulator.compute(comm, 0.4e-3)
            comm.Send(np.ones(1), 0, 2)
            return []
        emulator.compute(comm, 1e-3)
        seen = [comm.Iprobe(1, tag) for tag in (1, 2)]
        for tag in (1, 2):
            comm.Recv(np.empty(1), 1, tag)
        return seen

    assert sim.run(program, 2, plain(2)).results == [[True, True], []]


def test_a_buffer_may_be_used_again_once_it_is_sent() -> None:
    """The send is complete when the last byte has left, long before the message has arrived."""

    def program(comm: Any) -> Any:
        box = np.full(1000, 7.0)
        if comm.Get_rank() == 0:
            comm.Send(box, 1)
            box[:] = 0
            return None
        emulator.compute(comm, 1.0)
        comm.Recv(box, 0)
        return float(box.sum())

    assert sim.run(program, 2, plain(2)).results[1] == 7000.0


def test_a_deadlock_is_reported_with_its_cycle_and_what_was_not_received() -> None:
    def program(comm: Any) -> None:
        rank = comm.Get_rank()
        if rank == 3:
            comm.send("unheard", 0, 9)
            return
        comm.Recv(np.zeros(1), (rank + 1) % 3, 5)

    with pytest.raises(sim.DeadlockError) as caught:
        sim.run(program, 4, plain(4))
    text = str(caught.value)
    assert "3 of 4 ranks wait: rank 0 waits for" in " ".join(text.split())
    assert "; cycle: 0 -> 1 -> 2 -> 0; ended: 3; not received:" in " ".join(text.split())
    assert "rank 1 waits for a message from rank 2 with tag 5 (test_run.py, line" in text
    assert "with tag 9 from rank 3 to rank 0" in text


def test_ranks_that_wait_for_a_collective_call_that_one_left_out_are_a_deadlock() -> None:
    def program(comm: Any) -> None:
        if comm.Get_rank():
            comm.Split(0)

    with pytest.raises(sim.DeadlockError, match="2 of 3 ranks wait"):
        sim.run(program, 3, plain(3))


def test_an_error_ends_all_ranks_and_names_its_own() -> None:
    ended = []

    def program(comm: Any) -> None:
        try:
            if comm.Get_rank() == 2:
                raise ZeroDivisionError("here")
            comm.Recv(np.zeros(1), 2)
        finally:
            ended.append(comm.Get_rank())
            if comm.Get_rank() != 2:
                comm.Barrier()  # waits in vain, and must not keep the others

    with pytest.raises(ZeroDivisionError) as caught:
        sim.run(program, 4, plain(4))
    assert "rank 2" in caught.value.__notes__[0]


def test_phantoms_cost_time_and_no_memory() -> None:
    """A model of 8 GB."""

    def program(comm: Any) -> None:
        model = sim.phantom(2 * 10**9, np.float32)
        half = model[: model.size // 2], model[model.size // 2 :]
        comm.Sendrecv(half[0], 1 - comm.Get_rank(), 0, half[1], 1 - comm.Get_rank(), 0)

    assert sim.run(program, 2, plain(2)).seconds == exactly(ALPHA + 4 * 10**9 * BETA)


def test_an_all_reduce_of_phantoms_takes_the_closed_form() -> None:
    def program(comm: Any) -> None:
        all_reduce(comm, sim.phantom(4096), sim.phantom(4096), op=Operation("ignored", sim.ignore), algorithm="ring")

    assert sim.run(program, 16, plain(16)).seconds == exactly(costs.exact("ring", 16, 4096, 4, ALPHA, BETA))


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x[3], lambda x: x + 1, lambda x: x.sum(), lambda x: np.concatenate([x, x]), float, list, bool,
        lambda x: x.copy(), lambda x: x.tolist(), lambda x: x.tobytes(), MPI.pickle.dumps, copy.deepcopy,
        lambda x: x.astype("f8"), lambda x: x.argmax(), lambda x: x.nonzero(), lambda x: x.sort(), lambda x: x.dot(x),
        lambda x: x.fill(1), lambda x: x.__setitem__(0, 1.0), lambda x: x.flatten(), lambda x: x == 1, lambda x: 1 in x,
        lambda x: x.tofile("/dev/null"), lambda x: np.save("/dev/null", x), lambda x: x @ x, lambda x: x.take([0]),
    ],
)  # fmt: skip
def test_looking_into_a_phantom_is_an_error(look: Any) -> None:
    with pytest.raises(sim.PhantomRead, match="phantom"):
        look(sim.phantom(10))


def test_a_phantom_stays_one_after_a_larger_one_was_made() -> None:
    def program(comm: Any) -> None:
        small = sim.phantom(10)
        sim.phantom(1 << 28)
        if comm.Get_rank() == 0:
            comm.Send(small, 1)
        else:
            comm.recv(source=0)

    with pytest.raises(sim.PhantomRead, match="rank 1 received a phantom from rank 0"):
        sim.run(program, 2, plain(2))


def test_a_phantom_is_not_received_as_an_object() -> None:
    def program(comm: Any) -> None:
        if comm.Get_rank() == 0:
            comm.Send(sim.phantom(10), 1)
        else:
            comm.recv(source=0)

    with pytest.raises(sim.PhantomRead, match="rank 1 received a phantom from rank 0"):
        sim.run(program, 2, plain(2))


def test_bad_input() -> None:
    for words, options in {
        "at least 1 rank": {"ranks": 0},
        "'measured' or 'none'": {"compute": "some"},
        "simulate fewer ranks": {"ranks": 10**9},
    }.items():
        with pytest.raises(UsageError, match=words):
            sim.run(lambda comm: None, **{"ranks": 2, "network": "10gbe", **options})


def test_what_is_not_simulated_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="Spawn is not simulated"):
        sim.run(lambda comm: comm.control.Spawn("program"), 2, "10gbe")


def test_groups_and_parts() -> None:
    def program(comm: Any) -> Any:
        whole = comm.Get_group()
        some = whole.Incl([3, 1])
        assert some.Translate_ranks([0, 1], whole) == [3, 1]
        assert whole.Compare(whole.Excl([])) == MPI.IDENT
        part = comm.Create_group(some) if comm.Get_rank() in (1, 3) else None
        comm.Set_name("world")
        return comm.Get_name(), None if part is None else (part.Get_rank(), part.allgather(comm.Get_rank()))

    assert sim.run(program, 4, network.load("10gbe")).results == [
        ("world", None), ("world", (1, [3, 1])), ("world", None), ("world", (0, [3, 1])),
    ]  # fmt: skip


def test_an_interrupt_ends_all_ranks_though_one_would_wait_for_others_before_it_ends() -> None:
    ended: list[int] = []

    def program(comm: Any) -> None:
        if comm.Get_rank() == 0:
            comm.recv(source=1, tag=5)
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            try:
                comm.recv(source=0, tag=6)  # which rank 0 never sends
            finally:
                ended.append(comm.Get_rank())

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            sim.run(program, 3, "100gbe")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(ended) == 1


def test_the_garbage_collector_is_charged_to_no_rank() -> None:
    def program(comm: Any) -> tuple[float, float, int]:
        kept = [[] for _ in range(200_000)]
        began, clock = time.thread_time(), emulator.now(comm)
        gc.collect()
        took = time.thread_time() - began
        return took, emulator.now(comm) - clock, len(kept)

    for took, charged, _ in sim.run(program, 2, plain(2), compute="measured").results:
        assert charged < took / 2
