"""What steps with parameter servers take where no worker waits for all others, message by message.

    worker     ask ──► answer, for each table; compute; push ──►, for each table; ask ...
    server     answers asks as they come; under a bound b it parks that of a worker's step t until every
               worker has pushed step t - b - 1

Workers do not move together then, so that their messages meet at the cards of the servers at any time: no closed form
adds up who queues behind whom. The cards are those of `emulator.costs.replay`; the rule is that of
`primitives.parameter_server` (stale synchronous parallel: Ho et al. 2013), of whose code nothing is used here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

_ASK, _PUSH, _ANSWER = range(3)


@dataclass(frozen=True)
class Call:
    """Bytes that a worker exchanges with each server about one table: of a pull's request, its reply, and a push."""

    ask: float
    answer: float
    push: float


class _Service:
    """Clocks and cards of servers and workers, and the messages on their way."""

    def __init__(
        self, computes: NDArray[np.float64], servers: int, calls: Sequence[Call], bound: float,
        alpha: float, beta: float, egress: float,
    ) -> None:  # fmt: skip
        self.servers, self.calls, self.bound = servers, calls, bound
        self.alpha, self.beta, self.out = alpha, beta, egress
        self.workers = range(servers, servers + computes.shape[1])
        self.clock, self.egress, self.ingress = ([0.0] * (servers + len(self.workers)) for _ in range(3))
        self.flying: list[tuple[float, int, int, int, int, int]] = []  # first, source, number, target, kind, call
        self.sent = 0
        self.due = [0] * len(self.clock)  # answers that a worker waits for
        self.pushed = [dict.fromkeys(self.workers, 0) for _ in range(servers)]  # steps that are closed, by worker
        self.parked: list[list[tuple[int, int, int]]] = [[] for _ in range(servers)]  # worker, step, call
        self.step = dict.fromkeys(self.workers, 0)
        self.ends = np.zeros(computes.shape)
        self.programs = {rank: self._worker(rank, computes[:, at].tolist()) for at, rank in enumerate(self.workers)}

    def _send(self, source: int, target: int, size: float, kind: int, call: int) -> None:
        start = max(self.clock[source], self.egress[source])
        self.egress[source] = start + size * self.out
        self.sent += 1
        heappush(self.flying, (start + self.alpha, source, self.sent, target, kind, call))

    def _worker(self, rank: int, seconds: Sequence[float]) -> Iterator[None]:
        """A worker's program; it stops where it waits for answers."""
        for step, amount in enumerate(seconds):
            for number, call in enumerate(self.calls):
                for server in range(self.servers):
                    self._send(rank, server, call.ask, _ASK, number)
                self.due[rank] = self.servers
                yield
            self.clock[rank] += amount
            for number, call in enumerate(self.calls):
                for server in range(self.servers):
                    self._send(rank, server, call.push, _PUSH, number)
            self.step[rank] += 1
            self.ends[step, rank - self.servers] = self.clock[rank]

    def run(self) -> NDArray[np.float64]:
        for program in self.programs.values():
            next(program, None)
        while self.flying:
            first, source, _, target, kind, number = heappop(self.flying)
            call = self.calls[number]
            size = (call.ask, call.push, call.answer)[kind]
            self.ingress[target] = max(first, self.ingress[target]) + size * self.beta
            self.clock[target] = max(self.clock[target], self.ingress[target])
            if kind == _ANSWER:
                self.due[target] -= 1
                if not self.due[target]:
                    next(self.programs[target], None)
                continue
            if kind == _ASK:
                self.parked[target].append((source, self.step[source], number))
            elif number == len(self.calls) - 1:
                self.pushed[target][source] += 1
            self._answer(target)
        return self.ends

    def _answer(self, server: int) -> None:
        slowest = min(self.pushed[server].values())
        ready = [each for each in self.parked[server] if slowest >= each[1] - self.bound]
        self.parked[server] = [each for each in self.parked[server] if each not in ready]
        for worker, _, number in ready:
            self._send(server, worker, self.calls[number].answer, _ANSWER, number)


def loose(
    computes: NDArray[np.float64], servers: int, calls: Sequence[Call], alpha: float, beta: float, egress: float,
    bound: float = math.inf,
) -> NDArray[np.float64]:  # fmt: skip
    """When each worker is done with each step, in seconds, as an array like `computes`.

    Parameters
    ----------
    computes : seconds of each step (row) and worker (column)
    calls : the tables, in the order in which a worker asks for them; the last push closes the step
    alpha, beta, egress : seconds per message, per byte of a path, and per byte of a sender's card
    bound : steps by which a worker may be ahead of the slowest; infinite: any number
    """
    return _Service(computes, servers, calls, bound, alpha, beta, egress).run()
