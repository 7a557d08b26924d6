"""`ParameterServer`: assigns roles to the ranks of a communicator and runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from primitives.parameter_server.compression import parse
from primitives.parameter_server.consistency import Consistency, Staleness
from primitives.parameter_server.layout import Layout, roles
from primitives.parameter_server.server import OnFailure, Server
from primitives.parameter_server.table import Table
from primitives.parameter_server.worker import Worker

T = TypeVar("T")


@dataclass
class Summary:
    """Counts of one rank; the sum over all ranks describes the whole service.

    Attributes
    ----------
    staleness : of the pulls
    worker_bytes : sent and received by workers
    clocks : iterations that each worker closed, by rank
    not_finite : pushes (per shard) with NaN or infinity, by worker rank
    """

    staleness: Staleness = field(default_factory=Staleness)
    worker_bytes: int = 0
    clocks: dict[int, int] = field(default_factory=dict)
    not_finite: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            Staleness(self.staleness + other.staleness),
            self.worker_bytes + other.worker_bytes,
            self.clocks | other.clocks,
            self.not_finite + other.not_finite,
        )


class ParameterServer:
    """Assigns the ranks of a communicator the roles of servers and workers, and runs them.

    ::

        ps = ParameterServer(comm, [Table("w", 650)], servers=1, consistency=Consistency("ssp", 3))

        def train(worker):
            for _ in range(100):
                w = worker.pull("w")
                worker.push("w", gradient(w), closes=True)

        ps.run(train)

    Parameters
    ----------
    comm : any intracommunicator; nothing else may use it meanwhile (give a `Dup` if something does)
    tables : what is stored
    servers, workers : how many (the first ranks serve, the others work), or the ranks themselves. A rank may be both:
        it then serves others whenever it waits for the parameter server, and only then (not while it computes, nor
        inside another blocking call, so that workers who also all-reduce need servers of their own).
    consistency : the rule, see `Consistency`
    replicas : servers that keep each shard; more than one survives the loss of a server, except while workers leave:
        then the recovery must let all workers leave together
    compression : ``"none"``, ``"fp16"`` or ``"topk:SHARE"``, see `compression`
    refuse_nan : drop pushes that contain NaN or infinity (they are counted either way, by worker)
    on_failure : called after a failure, see `Server`

    Raises
    ------
    UsageError
        Too few ranks, roles that contradict each other, or a rule that cannot be.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        tables: Sequence[Table],
        *,
        servers: int | Sequence[int] = 1,
        workers: int | Sequence[int] | None = None,
        consistency: Consistency | None = None,
        replicas: int = 1,
        compression: str = "none",
        refuse_nan: bool = True,
        on_failure: OnFailure | None = None,
    ) -> None:
        rule = consistency or Consistency()
        size, rank = comm.Get_size(), comm.Get_rank()
        server_ranks, worker_ranks = roles(size, servers, workers)
        self.layout = Layout(size, server_ranks, worker_ranks, tables, replicas)
        self.server: Server | None = None
        self.worker: Worker | None = None
        packer = parse(compression)
        if rank in server_ranks:
            self.server = Server(comm, self.layout, rule, refuse_nan, on_failure)
        if rank in worker_ranks:
            self.worker = Worker(comm, self.layout, rule, self.server, on_failure, packer)

    def run(self, work: Callable[[Worker], T]) -> T | None:
        """Run this rank's roles to the end: `work` on workers, serving on servers until every worker has left.

        A worker leaves when `work` returns or raises, so that its error stops no other rank.

        Returns
        -------
        What `work` returned; None on a rank that is no worker.
        """
        result = None
        try:
            if self.worker is not None:
                try:
                    result = work(self.worker)
                finally:
                    self.worker.leave()
        finally:
            if self.server is not None:
                self.server.serve()
        return result

    def owned(self, table: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Keys and values of the shard of which this server is the first (empty on other ranks)."""
        index = self.layout.table(table)
        if self.server is None:
            spec = self.layout.tables[index]
            return np.empty(0, np.int64), np.empty(spec.shape(0), spec.dtype)
        part = self.server.shards[list(self.layout.servers).index(self.server.rank)].parts[index]
        return part.keys, part.values

    def summary(self) -> Summary:
        """The counts of this rank so far."""
        summary = Summary()
        if self.worker is not None:
            summary.staleness = self.worker.staleness
            summary.worker_bytes = self.worker.channel.sent_bytes + self.worker.channel.received_bytes
            summary.clocks[self.worker.rank] = self.worker.clock
        if self.server is not None:
            summary.not_finite = self.server.not_finite
        return summary
