"""Federated rounds and DiLoCo among ranks, against one process that does the same."""

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator.errors import UsageError
from primitives.federated import rules
from primitives.federated.averaging import Server, draw_clients, participate, serving
from primitives.federated.diloco import DiLoCo
from primitives.federated.rules import weighted_mean
from primitives.peers import Peers
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks

NET = "1gbe"
N = 6


def absent(client, number):
    return (client + number) % 3 == 0


def train(client, model, number):
    """Something nonlinear whose order of rounds and clients matters."""
    return np.tanh(model * (1 + client / 7)) + client * 0.1 + number * 0.01, float(client)


def reference(p, rounds, per_round, seed, aggregate=weighted_mean, drop=absent):
    model = np.zeros(N)
    for number in range(rounds):
        drawn = draw_clients(list(range(1, p)), per_round, seed, number)
        answers = [train(c, model, number) for c in drawn if not drop(c, number)]
        if answers:
            model = aggregate(np.array([m for m, _ in answers]), np.array([w for _, w in answers]))
    return model


def check_oracle(comm, per_round, seed):
    """Bit-equal to one process, drop-outs included."""
    me, p = comm.Get_rank(), comm.Get_size()
    if me == 0:
        with serving(comm, np.zeros(N), per_round=per_round, seed=seed) as server:
            records = [server.round() for _ in range(6)]
        assert (server.model == reference(p, 6, per_round, seed)).all()
        for record in records:
            assert sorted(record.answered + record.declined) == record.asked
            assert all(absent(c, record.number) for c in record.declined)
            assert record.late == record.broken == []
    else:
        done = participate(comm, lambda model, k: None if absent(me, k) else train(me, model, k))
        asked = [k for k in range(6) if me in draw_clients(list(range(1, p)), per_round, seed, k)]
        assert done == sum(not absent(me, k) for k in asked)


@on_simulated_ranks(
    6, net=NET, on_mpi={"ranks": 5, "per_round": [1, 4], "seed": [0]}, per_round=[1, 3, 5], seed=[0, 1, 2]
)
def test_equals_one_process(comm, per_round, seed):
    check_oracle(comm, per_round, seed)


@on_simulated_ranks(6, net=NET, size=[8, 4096, 200_000], training=[0.0, 0.01])
def test_a_round_takes_its_formula_on_an_idle_network(comm, size, training):
    from emulator import costs, network

    path = network.load(NET).sized(6).between(0, 1)
    comm.align()
    if comm.Get_rank() == 0:
        with serving(comm, np.zeros(size // 8)) as server:
            for _ in range(2):
                took = server.round().seconds
                expected = training + costs.seconds("federated", 5, size + 16, path.alpha, path.beta)
                assert took == pytest.approx(expected, rel=1e-9)
    else:

        def work(model, number):
            emulator.compute(comm, training)
            return model, 1.0

        participate(comm, work)


@on_simulated_ranks(5, net=NET, slow=[[4], [1, 2], [1, 2, 3, 4]])
def test_a_deadline_leaves_the_slow_out_exactly(comm, slow):
    """Without pacing the deadline is exact: the slow are late by emulated time, however fast they really are."""
    me, deadline = comm.Get_rank(), 0.01
    comm.align()
    if me == 0:
        with serving(comm, np.zeros(N), deadline_s=deadline) as server:
            record = server.round()
            assert record.late == slow
            assert record.answered == [c for c in range(1, 5) if c not in slow]
            assert record.seconds == pytest.approx(deadline, rel=1e-9)
            expected = [train(c, np.zeros(N), 0) for c in record.answered]
            if expected:
                model = weighted_mean(np.array([m for m, _ in expected]), np.array([w for _, w in expected]))
                assert (server.model == model).all()
            else:
                assert (server.model == 0).all()
    else:

        def work(model, number):
            emulator.compute(comm, 0.5 if me in slow else 0.001)
            return train(me, model, number)

        participate(comm, work)


@on_ranks(4, rounds=[3], error=[RuntimeError, SystemExit])
def test_a_failing_client_leaves_and_the_others_go_on(comm, rounds, error):
    me = comm.Get_rank()
    if me == 0:
        with serving(comm, np.zeros(N)) as server:
            records = [server.round() for _ in range(rounds)]
        assert records[0].declined == [2]
        assert records[1].asked == [1, 3]
        assert (server.model == reference(4, rounds, 3, 0, drop=lambda c, k: c == 2)).all()
        assert np.isfinite(server.model).all()
    elif me == 2:

        def broken(model, number):
            raise error("no battery")

        with pytest.raises(error, match="no battery"):
            participate(comm, broken)
    else:
        assert participate(comm, lambda model, k: train(me, model, k)) == rounds


@on_simulated_ranks(
    6,
    net=NET,
    on_mpi={"ranks": 5, "name": ["median"]},
    name=["median", "trimmed-mean", "geometric-median", "krum", "multi-krum"],
    lie=[np.nan, 1e9],
)
def test_a_liar_does_not_get_through(comm, name, lie):
    me = comm.Get_rank()
    if me == 0:
        with serving(comm, np.zeros(N), aggregate=rules.of(name).tolerating(1)) as server:
            record = server.round()
        assert record.broken == ([3] if np.isnan(lie) else [])
        np.testing.assert_allclose(server.model, 1.0, atol=1e-3)
    else:
        participate(comm, lambda model, k: (np.full(N, lie if me == 3 else 1.0), 1.0))


@on_ranks(4, least=[2])
def test_too_few_answers_leave_the_model_alone(comm, least):
    me = comm.Get_rank()
    if me == 0:
        with serving(comm, np.full(N, 5.0), least=least) as server:
            server.round()
        assert (server.model == 5.0).all()
    else:
        participate(comm, lambda model, k: (model * 0, 1.0) if me == 1 else None)


@on_ranks(4, absent_in=[0, 1])
def test_drop_outs_that_leave_a_robust_rule_too_few_make_the_round_void(comm, absent_in):
    """A median against one liar needs three answers: with two the model stays, and the round says why."""
    me = comm.Get_rank()
    if me == 0:
        with serving(comm, np.zeros(N), aggregate=rules.of("median").tolerating(1)) as server:
            records = [server.round() for _ in range(3)]
        assert [bool(record.void) for record in records] == [number == absent_in for number in range(3)]
        assert "3" in records[absent_in].void
        assert (server.model == 4.0).all()
    else:
        participate(comm, lambda model, k: None if me == 1 and k == absent_in else (model + me, 1.0))


@on_ranks(3, liars=[1])
def test_a_rule_that_can_never_work_is_refused(comm, liars):
    if comm.Get_rank() == 0:
        with (
            serving(comm, np.zeros(N), aggregate=rules.of("median").tolerating(liars)) as server,
            pytest.raises(UsageError, match="median"),
        ):
            server.round()
    else:
        participate(comm, lambda model, k: (model, 1.0))


@on_ranks(5, dead=[[2], [1, 4]])
def test_dead_clients_are_not_waited_for(comm, dead):
    me = comm.Get_rank()
    if me in dead:
        return
    peers = Peers(comm, on_failure=lambda rank, error: None)
    peers.lost |= set(dead)
    if me == 0:
        with serving(peers, np.zeros(N)) as server:
            record = server.round()
        assert record.answered == [c for c in range(1, 5) if c not in dead]
    else:
        participate(peers, lambda model, k: (model + 1, 1.0))


def check_diloco(comm, inner_steps, momentum):
    """Against one process that plays all ranks."""
    me, p = comm.Get_rank(), comm.Get_size()
    targets = np.random.default_rng(5).normal(size=(p, N))

    def inner(rank):
        return lambda model, step: model - 0.1 * (1 + step % 3) * (model - targets[rank])

    def mean(vector):
        rows = np.empty((p, N))
        requests = [comm.Isend(vector, i, 7) for i in range(p)]
        for i in range(p):
            comm.Recv(rows[i], i, 7)
        for request in requests:
            request.Wait()
        return rows.mean(axis=0)

    outer = DiLoCo(np.zeros(N), mean, lr=0.7, momentum=momentum)
    theta, velocity, step = np.zeros(N), np.zeros(N), 0
    for _ in range(5):
        outer.round(inner(me), inner_steps)
        local = [theta.copy() for _ in range(p)]
        for h in range(inner_steps):
            local = [inner(i)(model, step + h) for i, model in enumerate(local)]
        step += inner_steps
        change = (theta - np.array(local)).mean(axis=0)
        velocity = momentum * velocity + change
        theta = theta - 0.7 * (change + momentum * velocity)
        np.testing.assert_allclose(outer.model, theta, atol=1e-13)


@on_simulated_ranks(4, net=NET, on_mpi={"inner_steps": [3]}, inner_steps=[1, 3, 8], momentum=[0.0, 0.9])
def test_diloco_equals_one_process(comm, inner_steps, momentum):
    check_diloco(comm, inner_steps, momentum)


def test_diloco_with_one_step_is_synchronous_sgd():
    outer = DiLoCo(np.ones(N), lambda v: v, lr=1.0, momentum=0.0)
    for k in range(4):
        outer.round(lambda model, step: model - 0.1 * model, 1)
        np.testing.assert_allclose(outer.model, 0.9 ** (k + 1))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: DiLoCo(np.zeros(2), abs, lr=0), "above 0"),
        (lambda: DiLoCo(np.zeros(2), abs, momentum=1.0), r"\[0, 1\)"),
        (lambda: DiLoCo(np.zeros(2), abs).round(lambda m, s: m, 0), "at least 1 inner step"),
        (lambda: Server(MPI.COMM_SELF, np.zeros(2)), "at least one client"),
        (lambda: weighted_mean(np.full((2, 2), np.nan), np.ones(2)), "no client sent a finite model"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(UsageError, match=words):
        call()


@on_ranks(3, count=[3, 0])
def test_more_clients_than_there_are(comm, count):
    if comm.Get_rank() == 0:
        with pytest.raises(UsageError, match="between 1 and 2"):
            Server(comm, np.zeros(2), per_round=count)
