"""Gossip among ranks: conserved sums, spectral rates, exact schedules; simulated, and samples on MPI."""

import numpy as np
import pytest

from emulator.errors import UsageError
from primitives.gossip import PushSum, average, graphs, mix, mixing, schedules
from primitives.peers import Peers
from tests.ranks import on_ranks
from tests.simulated import NET, on_simulated_ranks


def inner(comm, p):
    """The communicator of the first p ranks; None on the others."""
    from mpi4py import MPI

    sub = comm.Split(0 if comm.Get_rank() < p else MPI.UNDEFINED, comm.Get_rank())
    return None if sub == MPI.COMM_NULL else sub


def gathered(comm, row):
    """Rows of all ranks, by messages alone, so that it also works on a simulated communicator."""
    row = np.ascontiguousarray(row, float)
    rows = np.empty((comm.Get_size(), *row.shape))
    requests = [comm.Isend(row, i, 99) for i in range(comm.Get_size())]
    for i in range(comm.Get_size()):
        comm.Recv(rows[i], i, 99)
    for request in requests:
        request.Wait()
    return rows


def start(comm, n=7):
    return np.random.default_rng((n, comm.Get_rank())).normal(size=n)


def check_matches_matrix(comm, p, name):
    sub = inner(comm, p)
    if sub is None:
        return
    w = mixing.of_graph(graphs.named(name, p))
    x = start(sub)
    all_x = gathered(sub, x)
    for _ in range(3):
        mix(sub, x, w)
        all_x = w.matrix() @ all_x
    np.testing.assert_allclose(x, all_x[sub.Get_rank()], atol=1e-12)


@on_simulated_ranks(8, on_mpi={"ranks": 5, "p": [3, 5]}, p=[2, 3, 5, 8], name=list(graphs.NAMED))
def test_a_round_is_its_matrix(comm, p, name):
    check_matches_matrix(comm, p, name)


@on_simulated_ranks(8, name=["ring", "torus", "star", "exponential", "complete"])
def test_converges_at_the_spectral_rate(comm, name):
    w = mixing.of_graph(graphs.named(name, comm.Get_size()))
    sigma, x = mixing.contraction(w), start(comm)
    mean = gathered(comm, x).mean(axis=0)
    distance = np.linalg.norm(gathered(comm, x) - mean)
    for _ in range(12):
        mix(comm, x, w)
        now = np.linalg.norm(gathered(comm, x) - mean)
        assert now <= sigma * distance + 1e-12
        distance = now
    np.testing.assert_allclose(gathered(comm, x).mean(axis=0), mean, atol=1e-12)


def check_exact(comm, p):
    sub = inner(comm, p)
    if sub is None:
        return
    x = start(sub)
    mean = gathered(sub, x).mean(axis=0)
    np.testing.assert_allclose(average(sub, x, schedules.base_graph(p)), mean, atol=1e-12)
    if p & (p - 1) == 0:
        rounds = p.bit_length() - 1
        np.testing.assert_allclose(average(sub, x, schedules.one_peer_exponential(p), rounds), mean, atol=1e-12)
        cube = gathered(sub, average(sub, x, schedules.base_graph(p)))
        assert len({row.tobytes() for row in cube}) == 1


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [1, 4, 5]}, p=[1, 2, 3, 5, 7, 8, 12, 13, 16])
def test_finite_schedules_are_exact(comm, p):
    check_exact(comm, p)


def check_push_sum(comm, seed):
    """Whole numbers and halves are exact in binary, so the sums must be conserved to the bit."""
    p = comm.Get_size()
    graph = graphs.exponential(p) if seed is None else graphs.complete(p)
    x = np.arange(3.0) + 1024 * comm.Get_rank()
    state = PushSum(comm, x, graph, seed=seed)
    before = gathered(comm, state.mass).sum(axis=0)
    for _ in range(8):
        state.step()
        assert (gathered(comm, state.mass).sum(axis=0) == before).all()
    state.run(52)
    np.testing.assert_allclose(gathered(comm, state.mass).sum(axis=0), before, rtol=1e-14)
    np.testing.assert_allclose(state.estimate, before[:-1] / p, rtol=1e-6)


@on_simulated_ranks(8, on_mpi={"ranks": 5}, seed=[None, 0, 1, 3])
def test_push_sum_conserves_sums_at_every_round(comm, seed):
    check_push_sum(comm, seed)


@on_simulated_ranks(8, seed=[0])
def test_push_sum_on_a_one_way_irregular_graph(comm, seed):
    p = comm.Get_size()
    cycle = [(i, (i + 1) % p) for i in range(p)]
    graph = graphs.from_edges(p, [*cycle, (0, 3), (0, 5), (2, 6)])
    x = start(comm)
    mean = gathered(comm, x).mean(axis=0)
    np.testing.assert_allclose(PushSum(comm, x, graph).run(300), mean, atol=1e-9)
    with pytest.raises(UsageError, match="doubly stochastic"):
        mixing.of_graph(graph)


def check_unbounded(comm, graph, seed):
    """Pushes that wait for no message conserve the sums, and end on weighted means of the initial values."""
    x = start(comm, 5)
    before = gathered(comm, np.append(x, 1.0))
    state = PushSum(comm, x, graph, bound=None, seed=seed)
    state.run(60)
    value = state.finish()
    np.testing.assert_allclose(gathered(comm, state.mass).sum(axis=0), before.sum(axis=0), atol=1e-12)
    low, high = before[:, :-1].min(axis=0), before[:, :-1].max(axis=0)
    assert (value >= low - 1e-12).all()
    assert (value <= high + 1e-12).all()


@on_ranks(5, seed=[None, 1], name=["ring", "complete", "star"])
def test_pushes_that_wait_for_no_message_conserve_sums(comm, seed, name):
    check_unbounded(comm, graphs.named(name, comm.Get_size()), seed)


@on_simulated_ranks(8, seed=[None, 1])
def test_pushes_that_wait_for_no_message_conserve_sums_simulated(comm, seed):
    check_unbounded(comm, graphs.torus(comm.Get_size()), seed)


@on_ranks(5, dead=[[0], [3], [1, 4]])
def test_survivors_go_on_without_the_dead(comm, dead):
    """Positions that are lost are left out, their weight stays at home; the others still agree."""
    if comm.Get_rank() in dead:
        return
    peers = Peers(comm, on_failure=lambda rank, error: None)
    peers.lost |= set(dead)
    living = [i for i in range(comm.Get_size()) if i not in dead]
    x = np.array([float(comm.Get_rank())])
    w = mixing.of_graph(graphs.complete(comm.Get_size()))
    for _ in range(60):
        mix(peers, x, w)
    np.testing.assert_allclose(x, np.mean(living), atol=1e-12)
    state = PushSum(peers, np.array([float(comm.Get_rank())]), graphs.complete(comm.Get_size()))
    np.testing.assert_allclose(state.run(60), np.mean(living), atol=1e-12)


@on_ranks(5, members=[[0, 2, 3], [4, 1]])
def test_a_rebuilt_table_is_exact_for_the_survivors(comm, members):
    if comm.Get_rank() not in members:
        with pytest.raises(UsageError, match="not among the members"):
            Peers(comm, members)
        return
    peers = Peers(comm)
    peers.adopt(members)
    value = average(peers, np.array([float(comm.Get_rank())]), schedules.base_graph(peers.size))
    np.testing.assert_allclose(value, np.mean(members), atol=1e-12)


@on_ranks(4, size=[3, 5])
def test_a_graph_of_another_size_is_refused(comm, size):
    with pytest.raises(UsageError, match=f"is for {size} ranks, this gossip has 4"):
        mix(comm, np.zeros(2), mixing.of_graph(graphs.complete(size)))
    with pytest.raises(UsageError, match="floating-point"):
        mix(comm, np.zeros(2, int), mixing.of_graph(graphs.complete(4)))


@on_simulated_ranks(8, p=[4, 8], name=sorted(graphs.NAMED), size=[8, 65536])
def test_a_round_takes_its_formula_on_an_idle_network(comm, p, name, size):
    from emulator import costs, network

    sub = inner(comm, p)
    if sub is None:
        return
    path = network.load(NET).sized(comm.Get_size()).between(0, 1)
    graph = graphs.named(name, p)
    begin = sub.align()
    average(sub, np.zeros(size // 8), mixing.of_graph(graph), 4)
    took = float((gathered(sub, [sub.now()]) - begin).max())
    sends = [[[(j, size) for j in to] for to in graph.neighbours]] * 4
    assert took == pytest.approx(costs.timeline(sends, path.alpha, path.beta), rel=1e-9)
    if graph.regular:
        rounds = (graph.degree,) * 4
        formula = costs.seconds("gossip", graph.size, size, path.alpha, path.beta, degrees=rounds)
        assert took == pytest.approx(formula, rel=0.02)


def check_overlapping_pushes(comm, p, bound):
    from emulator import carrier

    sub = inner(comm, p)
    if sub is None:
        return
    x = start(sub)
    rows = gathered(sub, x)
    mean = rows.mean(axis=0)
    state = PushSum(sub, x, [mixing.graph for mixing in schedules.one_peer_exponential(p)], bound)
    for _ in range(80 * (1 + (bound or 0)) if p > 1 else 0):
        carrier.of(sub).compute(1e-5)
        state.step()
    estimate = state.finish()
    np.testing.assert_allclose(gathered(sub, state.mass).sum(axis=0), [*p * mean, p], rtol=1e-9, atol=1e-9)
    if bound is None:  # a rank that is first to be done has heard little; it holds a weighted mean all the same
        assert ((rows.min(axis=0) - 1e-9 <= estimate) & (estimate <= rows.max(axis=0) + 1e-9)).all()
    else:
        np.testing.assert_allclose(estimate, mean, atol=1e-6)


@on_simulated_ranks(8, on_mpi={"ranks": 5, "p": [2, 5]}, p=[1, 2, 5, 8], bound=[0, 1, 3, None])
def test_late_pushes_conserve_mass_and_reach_the_mean(comm, p, bound):
    check_overlapping_pushes(comm, p, bound)


def test_a_negative_bound_is_refused():
    from mpi4py import MPI

    with pytest.raises(UsageError, match="a bound is at least 0 rounds, got -1"):
        PushSum(MPI.COMM_SELF, np.ones(1), [], -1)
