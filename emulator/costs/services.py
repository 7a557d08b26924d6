"""Time of steps with parameter servers where no worker waits for all others, message by message.

    worker     ask ──► answer, for each table; compute; push ──►, for each table; ask ...
    server     answers asks as they come; under a bound b it parks that of a worker's step t until every
               worker has pushed step t - b - 1; those that have waited for all workers are answered by rank

Workers do not move together then, so that their messages meet at the cards of the servers at any time: no closed form
follows which message queues behind which. The cards are those of `emulator.costs.message_paths`; the rule is that of
`primitives.parameter_server` (stale synchronous parallel: Ho et al. 2013), of whose code nothing is used here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.costs.message_paths import Traffic, Ways

_ASK, _PUSH, _BOTH, _ANSWER = range(4)


@dataclass(frozen=True)
class Call:
    """Bytes that a worker exchanges with each server for one table: a pull's request, its reply, and a push.

    Without a request of its own (None) a push is the request for the next step: one message instead of two.
    """

    ask: float | None
    answer: float
    push: float


class _Service:
    """Clocks and cards of servers and workers, and the messages under way."""

    def __init__(
        self, computes: NDArray[np.float64], servers: int, calls: Sequence[Call], bound: float, ways: Ways, pulled: bool
    ) -> None:
        self.servers, self.calls, self.bound, self.pulled = servers, calls, bound, pulled
        self.workers = range(servers, servers + computes.shape[1])
        self.clock = [0.0] * (servers + len(self.workers))
        self.traffic = Traffic(ways, len(self.clock))
        self.due = [0] * len(self.clock)  # answers that a worker waits for
        self.pushed = [dict.fromkeys(self.workers, 0) for _ in range(servers)]  # steps that are closed, by worker
        self.parked: list[list[tuple[int, int, int]]] = [[] for _ in range(servers)]  # worker, step, call
        self.step = dict.fromkeys(self.workers, 0)
        self.ends = np.zeros(computes.shape)
        self.programs = {rank: self._worker(rank, computes[:, at].tolist()) for at, rank in enumerate(self.workers)}

    def _send(self, source: int, target: int, size: float, kind: int, call: int) -> None:
        self.traffic.send(self.clock[source], source, target, size, (kind, call))

    def _worker(self, rank: int, seconds: Sequence[float]) -> Iterator[None]:
        """A worker's program as a generator, which yields where the worker waits for answers."""
        ends = self.ends[:, rank - self.servers]
        for step, amount in enumerate(seconds):
            yield from self._pull(rank, first=not step)
            if step and self.pulled:
                ends[step - 1] = self.clock[rank]
            self.clock[rank] += amount
            for number, call in enumerate(self.calls):
                for server in range(self.servers):
                    self._send(rank, server, call.push, _PUSH if call.ask is not None else _BOTH, number)
            self.step[rank] += 1
            ends[step] = self.clock[rank]
        if self.pulled:
            yield from self._pull(rank, first=False)
            ends[-1] = self.clock[rank]

    def _pull(self, rank: int, first: bool) -> Iterator[None]:
        """Request each table, unless the last push has done so, and wait for the answers."""
        for number, call in enumerate(self.calls):
            for server in range(self.servers) if call.ask is not None or first else ():
                self._send(rank, server, call.ask or 0.0, _ASK, number)
            self.due[rank] = self.servers
            yield

    def run(self) -> NDArray[np.float64]:
        for program in self.programs.values():
            next(program, None)
        while (arrival := self.traffic.next()) is not None:
            due, source, target, (kind, number) = arrival
            self.clock[target] = max(self.clock[target], due)
            if kind == _ANSWER:
                self.due[target] -= 1
                if not self.due[target]:
                    next(self.programs[target], None)
                continue
            if kind != _ASK and number == len(self.calls) - 1:
                self.pushed[target][source] += 1
            if kind != _PUSH:
                self.parked[target].append((source, self.step[source], number))
            self._answer(target)
        return self.ends

    def _answer(self, server: int) -> None:
        if not self.parked[server]:
            return
        slowest = min(self.pushed[server].values())
        ready: list[tuple[int, int, int]] = []
        waiting: list[tuple[int, int, int]] = []
        for each in self.parked[server]:
            (ready if slowest >= each[1] - self.bound else waiting).append(each)
        self.parked[server] = waiting
        for worker, _, number in ready if self.bound else sorted(ready):
            self._send(server, worker, self.calls[number].answer, _ANSWER, number)


def loose(
    computes: NDArray[np.float64], servers: int, calls: Sequence[Call], ways: Ways, bound: float = math.inf,
    pulled: bool = False,
) -> NDArray[np.float64]:  # fmt: skip
    """When each worker has finished each step, in seconds, as an array shaped like `computes`.

    Parameters
    ----------
    computes : seconds of each step (row) and worker (column)
    calls : the tables, in the order in which a worker asks for them; the last push closes the step
    ways : the ways between the ranks, servers first
    bound : steps by which a worker may be ahead of the slowest; infinite: any number
    pulled : a step ends when its worker has the tables for the next one, instead of with its pushes
    """
    return _Service(computes, servers, calls, bound, ways, pulled).run()
