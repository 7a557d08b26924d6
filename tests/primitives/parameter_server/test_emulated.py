"""The same servers and workers on an emulated network: right answers, and the times of the closed form."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from demos._lib import push_pull
from emulator import carrier, costs, network
from primitives.collectives.all_reduce import all_reduce
from primitives.parameter_server import Add, Consistency, ParameterServer, Table, Worker, messages
from primitives.parameter_server.server import PATIENCE_ALONE_S
from tests.primitives.parameter_server_training import check_bit_equal
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks

UNPACED = {"pace": "none", "compute": "none"}


@on_ranks(4, net="10gbe", emulation=UNPACED, roles=["two servers", "all both"], update=["momentum"])
def test_bsp_is_bit_equal_to_the_sequential_run(comm: Any, roles: str, update: str) -> None:
    """On the wire; all roles are simulated on the same network in `test_training`."""
    check_bit_equal(comm, roles, update, "range")


@on_simulated_ranks(8, p=[2, 4, 8], servers=[1, 2], size=[64, 65536], compute=[0.0, 1e-3])
def test_a_synchronous_step_takes_the_closed_form(comm: Any, p: int, servers: int, size: int, compute: float) -> None:
    if servers >= p:
        return
    path = network.load("10gbe").sized(8).between(0, 1)
    rank = comm.Get_rank()
    sub = comm.Split(0 if rank < p else MPI.UNDEFINED, rank)
    member = rank < p
    seen = push_pull.measure(comm, sub if member else None, size, servers, 6, compute=compute)
    if rank == 0:
        framed = size + servers * messages.HEADER_BYTES
        alpha, beta = path.alpha, path.beta
        expected = compute + costs.seconds("parameter_server", p - servers, framed, alpha, beta, servers=servers)
        assert push_pull.step_times(seen) == pytest.approx([expected] * 6, rel=1e-3)
        assert sum(one.wrong for one in seen) == 0
    if member:
        sub.Free()


def _free(workers: int, n: int, path: Any, compute: float) -> float:
    """Seconds of a step of a worker that waits for nobody."""
    how = {"consistency": "asynchronous", "compute": compute}
    return compute + float(costs.seconds("parameter_server", workers, n, path.alpha, path.beta, **how))


def free_run(comm: Any, rule: Consistency, slow: float) -> tuple[Any, ...]:
    """Thirty steps of 1 ms on each worker, the last one slowed down; what every rank saw."""
    comm.align()
    begin = comm.now()
    ps = ParameterServer(comm, [Table("w", 64, update=Add())], consistency=rule)

    def work(worker: Worker) -> float:
        pull = worker.pull_async("w")
        for _ in range(30):
            pull.wait()
            emulator.compute(comm, 1e-3 * (slow if worker.rank == 3 else 1.0))
            pull = worker.push_pull("w", np.ones(64))
        pull.wait()
        return emulator.now(comm) - begin

    took = ps.run(work)
    return took, sorted(ps.summary().staleness.items())


@on_ranks(4, net="10gbe", emulation=UNPACED, kind=["async", "ssp", "bsp"])
def test_without_pacing_a_run_is_repeatable(comm: Any, kind: str) -> None:
    rule = Consistency(kind, 2)
    first, second = free_run(comm, rule, 4.0), free_run(comm, rule, 4.0)
    if comm.Get_rank() > 0:
        assert first[0] == pytest.approx(second[0], rel=1e-9)
    assert first[1] == second[1]


@on_simulated_ranks(4, bound=[0, 1, 4])
def test_staleness_under_a_straggler_is_what_arithmetic_says(comm: Any, bound: int) -> None:
    """Workers four times as fast soon stand at the bound; the straggler itself never reads anything stale."""
    took, counts = free_run(comm, Consistency("ssp", bound), 4.0)
    rank = comm.Get_rank()
    if rank == 3:
        assert counts == [(0, 31)]
        path = network.load("10gbe").sized(4).between(0, 1)
        # It waits for nobody: its time is its own, up to the few messages that it meets at the server.
        alone = _free(1, 512 + messages.HEADER_BYTES, path, 4e-3)
        assert took == pytest.approx(30 * alone, rel=0.01)
    elif rank:
        assert max(value for value, _ in counts) == bound
        # The straggler falls behind one iteration in every 4/3 of a fast one's: the bound is reached after that.
        assert dict(counts)[bound] >= 30 - 3 * (bound + 1)


@on_simulated_ranks(4)
def test_asynchronous_workers_wait_for_nobody(comm: Any) -> None:
    took, _ = free_run(comm, Consistency("async"), 4.0)
    rank = comm.Get_rank()
    if rank in (1, 2):
        path = network.load("10gbe").sized(4).between(0, 1)
        alone = _free(3, 512 + messages.HEADER_BYTES, path, 1e-3)
        assert took == pytest.approx(30 * alone, rel=0.02)


@on_ranks(4, net="10gbe", emulation=UNPACED)
def test_workers_that_sum_among_themselves_do_not_stop_a_single_server(comm: Any) -> None:
    group = comm.Split(int(comm.Get_rank() >= 1), comm.Get_rank())
    ps = ParameterServer(comm, [Table("w", 8, update=Add())], servers=1, consistency=Consistency("bsp"))

    def work(worker: Worker) -> Any:
        total = np.empty(4)
        for _ in range(2):
            worker.pull("w")
            all_reduce(group, np.ones(4), total)
            assert total.tolist() == [3.0] * 4
            worker.push("w", np.ones(8), closes=True)
        return worker.pull("w")

    found = ps.run(work)
    assert found is None or found.tolist() == [6.0] * 8


@on_simulated_ranks(5, servers=[1, 2])
def test_workers_that_say_that_they_wait_for_each_other_keep_the_order_exact(comm: Any, servers: int) -> None:
    _wait_for_each_other(comm, servers)


@on_ranks(5, net="10gbe", emulation=UNPACED)
def test_a_single_server_waits_for_no_worker_that_waits_for_another(comm: Any) -> None:
    _wait_for_each_other(comm, 1)


def _wait_for_each_other(comm: Any, servers: int) -> None:
    rank = comm.Get_rank()
    group = comm.Split(int(rank >= servers), rank)
    ps = ParameterServer(comm, [Table("w", 8, update=Add())], servers=servers, consistency=Consistency("ssp", 2))

    def work(worker: Worker) -> None:
        total = np.empty(4)
        for step in range(6):
            worker.pull("w")
            emulator.compute(comm, 1e-3 * (1 + (worker.rank + step) % 3))
            worker.away()
            all_reduce(group, np.ones(4), total)
            worker.push("w", np.full(8, 1.0 + worker.rank), closes=True)

    comm.Barrier()
    carrier.of(comm).align()
    began, wall = emulator.now(comm), time.perf_counter()
    ps.run(work)
    assert time.perf_counter() - wall < PATIENCE_ALONE_S / 2
    path = network.load("10gbe").sized(5).between(0, 1)
    if ps.worker is not None:  # the all-reduce is a barrier: each step takes the longest computing, and messages
        assert 6 * 3e-3 < emulator.now(comm) - began < 6 * (3e-3 + 20 * path.alpha)
    assert carrier.of(comm).fidelity()["inversions"] == 0
