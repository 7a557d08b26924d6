"""The exchanges of a design's skeleton on real ranks: declared compute, and the messages of `primitives`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import emulator
from emulator import carrier
from emulator.design.prices.exchange import ITEM, WARM_UP, Exchange
from emulator.network import Network
from emulator.run.demo_run import Run
from primitives.collectives.all_reduce import all_reduce
from primitives.federated.averaging import participate, serving
from primitives.gossip import PushSum, graphs, mix, mixing, schedules
from primitives.parameter_server import Add, Consistency, ParameterServer, Table, Worker
from primitives.scatter_gather import Deadline, coordinator

Times = NDArray[np.float64]
Ends = list[float]
"""When this rank was done with each exchange, in seconds; empty on a rank that only serves."""


def seconds(run: Run, one: Exchange, draws: Times, on: MPI.Intracomm | None = None) -> float:
    """Seconds of one exchange after the warm-up; collective over all ranks of the run.

    On `on`, which has the ranks of the run; absent: on the run's communicator.

    To the last rank's end where ranks wait for one another; else the mean over the ranks that compute.
    """
    comm: Any = run.sub(one.ranks) if on is None else on.Split(0 if run.rank < one.ranks else MPI.UNDEFINED, run.rank)
    if run.rank >= one.ranks:
        comm = None
    run.control.Barrier()
    ends: Ends = []
    if comm is not None:
        carrier.of(comm).align()
        ends = _PATTERNS[one.flow.pattern](comm, one, draws)
    gathered = run.control.gather(ends)
    return float(run.control.bcast(0.0 if gathered is None else _each(one, gathered)))


def simulated(network: Network, one: Exchange, draws: Times, ranks: int | None = None) -> tuple[float, int]:
    """Seconds of one exchange on simulated ranks in this process; and the messages taken out of order.

    Parameters
    ----------
    ranks : ranks that have a place on the network, of which the first ones have this exchange; absent: only these
    """
    from emulator import sim

    def program(comm: MPI.Intracomm) -> tuple[Ends, int]:
        part: Any = comm
        ends: Ends = []
        if comm.Get_size() > one.ranks:
            part = comm.Split(0 if comm.Get_rank() < one.ranks else MPI.UNDEFINED, comm.Get_rank())
        if part != MPI.COMM_NULL:
            ends = _PATTERNS[one.flow.pattern](part, one, draws)
        return ends, inversions(comm)

    found = sim.run(program, ranks or one.ranks, network).results
    return _each(one, [ends for ends, _ in found]), found[0][1]


def inversions(comm: MPI.Intracomm) -> int:
    """Number of messages that a shared card or link served before one that had started earlier; collective."""
    fidelity = carrier.of(comm).fidelity()
    return int(fidelity["inversions"]) if fidelity else 0


def _each(one: Exchange, ends: Sequence[Ends]) -> float:
    """Seconds of one exchange, from when each rank finished every one."""
    table = np.array([row for row in ends if row])
    done = table.max(axis=0) if one.waits else table.mean(axis=0)
    return float(done[-1] - done[WARM_UP - 1]) / (len(done) - WARM_UP)


def _sums(comm: MPI.Intracomm, one: Exchange, draws: Times) -> Ends:
    vector, total, ends = np.ones(one.up // ITEM, np.float32), np.empty(one.up // ITEM, np.float32), []
    for row in draws:
        emulator.compute(comm, row[comm.Get_rank()])
        all_reduce(comm, vector, total, algorithm=one.algorithm)
        ends.append(emulator.now(comm))
    return ends


def _gossip(comm: MPI.Intracomm, one: Exchange, draws: Times) -> Ends:
    p, ends = comm.Get_size(), []
    single = one.flow.graph == "one-peer"
    rounds = schedules.one_peer_exponential(p) if single else [mixing.of_graph(graphs.named(one.flow.graph, p))]
    late = None if math.isinf(one.slack) else int(one.slack)
    value = np.ones(one.up // 8 - (not one.waits))  # a late message has the sum's weight beside it
    pushes = PushSum(comm, value, [each.graph for each in rounds], late)
    for number, row in enumerate(draws):
        emulator.compute(comm, row[comm.Get_rank()])
        if one.waits:
            mix(comm, value, rounds[number % len(rounds)])
        else:
            pushes.drain()
            pushes.step()
        ends.append(emulator.now(comm))
    pushes.finish()
    return ends


def _service(comm: MPI.Intracomm, one: Exchange, draws: Times) -> Ends:
    k = one.flow.servers
    if one.touched:
        table = Table("w", one.rows, one.row_bytes // 8, update=Add())
    else:
        table = Table("w", one.up // 8, update=Add())
    rule = Consistency({"synchronous": "bsp", "bounded": "ssp"}.get(one.model, "async"), one.bound)
    mine = draws[:, comm.Get_rank() - k].tolist() if comm.Get_rank() >= k else []

    def dense(worker: Worker) -> Ends:
        values, ones, ends = np.empty(table.rows), np.ones(table.rows), []
        pull = worker.pull_async("w", out=values)
        pull.wait()
        for amount in mine:
            emulator.compute(comm, amount)
            worker.push_pull("w", ones, out=values).wait()
            ends.append(emulator.now(comm))
        return ends

    def sparse(worker: Worker) -> Ends:
        apart, ends = one.rows // one.touched, []
        keys = np.arange(one.touched) * apart  # evenly on the servers, others in each step
        rows = worker.pull("w", keys)
        for step, amount in enumerate(mine):
            emulator.compute(comm, amount)
            worker.push("w", np.ones_like(rows), keys, closes=True)
            keys = np.arange(one.touched) * apart + (step + worker.rank) % apart
            rows = worker.pull("w", keys)
            ends.append(emulator.now(comm))
        return ends

    ps = ParameterServer(comm, [table], servers=k, consistency=rule)
    return ps.run(sparse if one.touched else dense) or []


def _requests(comm: MPI.Intracomm, one: Exchange, draws: Times) -> Ends:
    """Run a request to each worker, or tasks that workers pull; quorum, backups and replicas as in the design."""
    answer, request, me = bytes(one.up), bytes(one.down), comm.Get_rank() - 1
    ran = [-1, 0]  # the request of this worker's last task, and how many of it this worker has run

    def work(task: tuple[int, bytes]) -> bytes:
        ran[:] = (task[0], ran[1] + 1) if ran[0] == task[0] else (task[0], 0)
        emulator.compute(comm, draws[task[0], ran[1] % draws.shape[1], me])
        return answer

    options: dict[str, Any] = {"speculate": one.late}
    if one.owners is not None:
        options["where"] = [[1 + node for node in nodes] for nodes in one.owners]
    if one.needed:
        options["deadline"] = Deadline(quorum=one.needed / (one.tasks or one.p))
    ends = []
    with coordinator(comm, work, batch=1, prefetch=one.prefetch) as pool:
        for number in range(len(draws)):
            if pool is None:
                break  # a worker: it has served until the last answer
            pool.ask([(number, request)] * (one.tasks or one.p), **options)
            ends.append(emulator.now(comm))
    return ends


def _rounds(comm: MPI.Intracomm, one: Exchange, draws: Times) -> Ends:
    model, ends = np.zeros(max(1, one.up // 8)), []

    def train(amounts: list[float], given: Any, number: int) -> tuple[Any, float]:
        emulator.compute(comm, amounts[number])
        return given, 1.0

    if comm.Get_rank():
        participate(comm, partial(train, draws[:, comm.Get_rank() - 1].tolist()))
        return []
    with serving(comm, model, deadline_s=None if math.isinf(one.deadline) else one.deadline) as server:
        for _ in draws:
            server.round()
            ends.append(emulator.now(comm))
    return ends


_PATTERNS: dict[str, Callable[[MPI.Intracomm, Exchange, Times], Ends]] = {
    "all-reduce": _sums,
    "gossip": _gossip,
    "parameter-server": _service,
    "scatter-gather": _requests,
    "federated": _rounds,
}
