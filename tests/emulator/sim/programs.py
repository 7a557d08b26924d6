"""Programs that use every primitive, for any number of ranks; each returns something that shows a wrong answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from primitives import collectives
from primitives.collectives.all_reduce import ALGORITHMS, all_reduce
from primitives.federated.averaging import participate, serving
from primitives.gossip import average, graphs, mix, mixing, rumour, schedules
from primitives.parameter_server import Add, Consistency, ParameterServer, Table, Worker
from primitives.scatter_gather import Deadline, gather_blocks, map_tasks, scatter_blocks

Program = Callable[[Any], Any]
LENGTHS = (0, 1, 17, 1000)


def _apart(comm: Any) -> None:
    """Let no two ranks do something at the same instant: a card without pacing serves ties as they physically come."""
    emulator.compute(comm, 1e-8 * np.sqrt(2.0 + comm.Get_rank()))


def _start(comm: Any, n: int) -> Any:
    return np.random.default_rng((n, comm.Get_rank())).normal(size=n)


def _all_reduce(algorithm: str) -> Program:
    def program(comm: Any) -> Any:
        found = []
        for n in LENGTHS:
            emulator.compute(comm, 1e-6 * (comm.Get_rank() * 7 % 5))
            found.append(all_reduce(comm, _start(comm, n), algorithm=algorithm).tobytes())
        return found

    return program


def _rooted(comm: Any) -> Any:
    rank, p = comm.Get_rank(), comm.Get_size()
    whole, block, mine = np.arange(9.0 * p), np.zeros(9), _start(comm, 9)
    for root in {0, p - 1}:
        collectives.broadcast(comm, whole, root)
        collectives.scatter(comm, whole, block, root)
        collectives.gather(comm, mine, whole if rank == root else None, root)
        collectives.reduce(comm, mine, block if rank == root else None, "sum", root)
    return whole.tobytes(), block.tobytes()


def _unrooted(comm: Any) -> Any:
    p = comm.Get_size()
    whole, there, mine = _start(comm, 9 * p), np.zeros(9 * p), _start(comm, 9)
    collectives.all_gather(comm, mine, there)
    collectives.all_to_all(comm, whole, there)
    collectives.reduce_scatter(comm, whole, mine)
    collectives.scan(comm, mine, mine)
    collectives.barrier(comm)
    return there.tobytes(), mine.tobytes()


def _mpi4py(comm: Any) -> Any:
    """The communicator's own collectives, persistent requests, parts of a communicator."""
    rank, p = comm.Get_rank(), comm.Get_size()
    part = comm.Split(rank % 2, -rank)
    copy = part.Dup()
    found: list[Any] = [copy.allreduce(rank), copy.allgather(rank), comm.bcast({"rank": rank}, root=p - 1)]
    box, out = np.zeros(3), np.full(3, float(rank))
    requests = [comm.Recv_init(box, (rank - 1) % p, 3), comm.Send_init(out, (rank + 1) % p, 3)]
    for _ in range(2):
        MPI.Prequest.Startall(requests)
        MPI.Request.Waitall(requests)
        found.append(box.tolist())
        out += box
    copy.Free()
    part.Free()
    return found


def _parameter_server(kind: str) -> Program:
    def program(comm: Any) -> Any:
        if comm.Get_size() < 2:
            return None
        tables = [Table("w", 64, update=Add())]
        ps = ParameterServer(comm, tables, servers=1, consistency=Consistency(kind, 2))

        def work(worker: Worker) -> Any:
            _apart(comm)
            pull = worker.pull_async("w")
            for step in range(6):
                seen = pull.wait()
                emulator.compute(comm, 1e-4 * (1 + worker.rank % 3))
                pull = worker.push_pull("w", np.full(64, 1.0 + step))
            return np.sum(seen), np.sum(pull.wait())

        return ps.run(work)

    return program


def _blocks(shape: str) -> Program:
    def program(comm: Any) -> Any:
        rank, p = comm.Get_rank(), comm.Get_size()
        blocks = [bytes([i]) * (100 * (1 + i * 7 % 5)) for i in range(p)] if rank == 0 else None
        mine = scatter_blocks(comm, blocks, shape=shape)
        return mine, gather_blocks(comm, mine, shape=shape)

    return program


def _tasks(prefetch: int, rule: Deadline | None) -> Program:
    def program(comm: Any) -> Any:
        def work(x: int) -> int:
            emulator.compute(comm, 1e-4 * (1 + x % 3 + comm.Get_rank() % 2))
            return x * x

        answer = map_tasks(comm, work, range(3 * comm.Get_size()), batch=1, prefetch=prefetch, deadline=rule)
        return None if answer is None else (answer.seconds, answer.present())

    return program


def _gossip(comm: Any) -> Any:
    p = comm.Get_size()
    x = _start(comm, 7)
    _apart(comm)
    for name in ("ring", "complete", "exponential"):
        mix(comm, x, mixing.of_graph(graphs.named(name, p)))
    mean = average(comm, x, schedules.base_graph(p))
    text = np.full(50, 7 if comm.Get_rank() == 1 else 0, np.uint8)
    heard = rumour.spread(comm, text, 1, mode="push-pull", seed=3)
    return x.tobytes(), mean.tobytes(), text.tobytes(), heard.rounds, heard.at


def _federated(comm: Any) -> Any:
    if comm.Get_rank() == 0:
        with serving(comm, np.zeros(6), per_round=max(1, comm.Get_size() // 2), seed=1) as server:
            seconds = [server.round().seconds for _ in range(3)]
        return server.model.tobytes(), seconds

    def train(model: Any, number: int) -> Any:
        emulator.compute(comm, 1e-3 * (1 + comm.Get_rank() % 3))
        return np.tanh(model) + comm.Get_rank(), 1.0

    return participate(comm, train)


PROGRAMS: dict[str, Program] = {
    **{f"all_reduce {name}": _all_reduce(name) for name in ALGORITHMS},
    "rooted": _rooted,
    "unrooted": _unrooted,
    "mpi4py": _mpi4py,
    # On an unpaced network only a single server is exact (primitives/parameter_server/server.py).
    **{f"server {kind}": _parameter_server(kind) for kind in ("bsp", "ssp", "async")},
    **{f"blocks {shape}": _blocks(shape) for shape in ("linear", "tree")},
    "tasks": _tasks(0, None),
    "tasks ahead": _tasks(1, None),
    "tasks with a deadline": _tasks(0, Deadline(2e-3, 0.5)),
    "gossip": _gossip,
    "federated": _federated,
}
