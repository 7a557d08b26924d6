"""Patterns whose messages share cards: one program on MPI itself and on simulated ranks.

    mpirun -n 4 python -m bench._meeting RESULT.json     medians on MPI itself, by pattern, in seconds

A pattern's time is that from the first rank's start to the last rank's end.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator import carrier
from primitives.collectives.all_reduce import all_reduce

LONG, SHORT, BLOCK = 1_000_000, 4096, 1 << 16
LATE_S = 0.3
REPETITIONS = 5
_MORE = 5  # as many times as often for what takes a few ms
_PAUSE_S = 0.05
"""In which the queues on the way run empty."""
_GO = 9


class Patterns:
    """The patterns on a communicator of four ranks; each returns a further time in seconds, or None."""

    def __init__(self, comm: Any) -> None:
        self.comm, self.carrier = comm, carrier.of(comm)
        self.out, self.into = np.zeros(LONG, np.uint8), np.zeros((comm.size, LONG), np.uint8)
        self.short = np.zeros(SHORT, np.uint8)

    def _ping_pong(self, buffer: Any) -> None:
        if self.comm.rank < 2:
            order = (self.comm.Send, self.comm.Recv)
            for method in order if self.comm.rank == 0 else order[::-1]:
                method(buffer, 1 - self.comm.rank)

    def short_ping_pong(self) -> None:
        self._ping_pong(self.short[:8])

    def eager_ping_pong(self) -> None:
        self._ping_pong(self.out[:60_000])

    def long_ping_pong(self) -> None:
        self._ping_pong(self.out)

    def ring_of_64_kib_blocks(self) -> None:
        all_reduce(
            self.comm, self.out[: self.comm.size * BLOCK], self.into[0, : self.comm.size * BLOCK], algorithm="ring"
        )

    def incast(self) -> None:
        if self.comm.rank:
            self.comm.Send(self.out, 0)
        else:
            MPI.Request.Waitall([self.comm.Irecv(self.into[source], source) for source in range(1, self.comm.size)])

    def parameter_server(self) -> float | None:
        """Return the seconds until the first push had arrived, on rank 0; else None."""
        if self.comm.rank:
            self.comm.Send(self.out, 0)
            self.comm.Recv(self.into[0], 0)
            return None
        begin, others = self.carrier.now(), range(1, self.comm.size)
        pushes = [self.comm.Irecv(self.into[source], source) for source in others]
        MPI.Request.Waitany(pushes)
        first = self.carrier.now() - begin
        MPI.Request.Waitall(pushes)
        MPI.Request.Waitall([self.comm.Isend(self.out, other) for other in others])
        return first

    def short_beside_long(self) -> float | None:
        """Return the seconds of the short message from the request to send it, on rank 0; else None."""
        comm, go = self.comm, self.short[:1]
        if comm.rank == 0:
            long = comm.Irecv(self.into[1], 1)
            comm.Send(go, 1, _GO)
            self.carrier.compute(0.05)
            begin = self.carrier.now()
            comm.Send(go, 2, _GO)
            comm.Recv(self.short, 2)
            seen = self.carrier.now() - begin
            long.Wait()
            return seen
        if comm.rank < 3:
            comm.Recv(go, 0, _GO)
            comm.Send(self.out if comm.rank == 1 else self.short, 0)
        return None

    def late_receiver(self) -> None:
        if self.comm.rank == 0:
            self.comm.Send(self.out, 1)
        elif self.comm.rank == 1:
            self.carrier.compute(LATE_S)
            self.comm.Recv(self.into[0], 0)

    def exchange_around_a_ring(self) -> None:
        rank, size = self.comm.rank, self.comm.size
        receive = self.comm.Irecv(self.into[0], (rank - 1) % size)
        self.comm.Send(self.out, (rank + 1) % size)
        receive.Wait()

    def all_to_all_at_once(self) -> None:
        rank, size = self.comm.rank, self.comm.size
        requests = [self.comm.Irecv(self.into[other], other) for other in range(size) if other != rank]
        MPI.Request.Waitall(requests + [self.comm.Isend(self.out, (rank + k) % size) for k in range(1, size)])

    def all_to_all_in_turns(self) -> None:
        rank, size = self.comm.rank, self.comm.size
        for k in range(1, size):
            self.comm.Sendrecv(self.out, (rank + k) % size, 0, self.into[0], (rank - k) % size, 0)

    def broadcast(self) -> None:
        """Broadcast down a binomial tree, to all children at once."""
        parent, children = {0: (None, (2, 1)), 1: (0, ()), 2: (0, (3,)), 3: (2, ())}[self.comm.rank]
        if parent is not None:
            self.comm.Recv(self.out, parent)
        MPI.Request.Waitall([self.comm.Isend(self.out, child) for child in children])


PATTERNS = [name for name in vars(Patterns) if not name.startswith("_")]
"""In the order in which they run."""
BESIDE = {"parameter_server": "first push at the server", "short_beside_long": "short message beside a long one"}
"""What the value that a pattern returns is."""


def measure(comm: Any, repetitions: int, together: Callable[[], object]) -> dict[str, float]:
    """The median time of each pattern and of what it returns; `together` synchronises the beginning.

    Of ping-pongs the least round trip on rank 0: they give the terms of the network, without the machine's other work.
    """
    patterns, clock = Patterns(comm), carrier.of(comm)
    medians: dict[str, float] = {}
    for name in PATTERNS:
        rows = []
        ping_pong = name.endswith("ping_pong")
        for _ in range(repetitions * (_MORE if ping_pong and name != "long_ping_pong" else 1)):
            together()
            begin = clock.now()
            seen = getattr(patterns, name)()
            rows.append((begin, clock.now(), seen))
        every = comm.gather(rows)
        if comm.rank == 0:
            if ping_pong:
                medians[name] = min(end - begin for begin, end, _ in rows)
                continue
            spans = [(min(one[0] for one in span), max(one[1] for one in span)) for span in zip(*every, strict=True)]
            medians[name] = statistics.median(end - begin for begin, end in spans)
            if name in BESIDE:
                with_value = next(rows for rows in every if rows[0][2] is not None)
                medians[BESIDE[name]] = statistics.median(row[2] for row in with_value)
    return medians


def main() -> None:
    """Measure on MPI itself."""
    comm = MPI.COMM_WORLD

    def together() -> None:
        # Ranks of one kernel read one clock: a barrier lets them go milliseconds apart where they share cores.
        comm.Barrier()
        begin: float = comm.bcast(time.perf_counter() + _PAUSE_S)
        time.sleep(max(0.0, begin - time.perf_counter()))

    medians = measure(comm, REPETITIONS, together)
    if comm.rank == 0:
        Path(sys.argv[1]).write_text(json.dumps(medians))


if __name__ == "__main__":
    main()
