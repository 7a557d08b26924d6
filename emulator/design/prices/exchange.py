"""One exchange of a design's skeleton: its sizes, compute times, and exact time on a configured network.

Each exchange is followed message by message (`emulator.costs.steps`, `emulator.costs.coordinator`), with computing
times drawn anew.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator import costs
from emulator.costs import coordinator, graphs, services, steps
from emulator.costs.message_paths import Ways
from emulator.costs.replay import follow
from emulator.costs.waiting import lognormal, stratified_normals
from emulator.design.model import Flow
from emulator.design.sheets.tables import KEY_BYTES

ITEM = 4  # bytes of an element of a sum
WARM_UP = 2  # exchanges before the clock counts
STRATIFIED, INDEPENDENT = 80, 240  # exchanges with computing times so drawn, for a mean wait known to about 3 %
_REQUEST, _REPORT, _HEADER, _MODEL = 110, 75, 56, 16  # bytes around a task, its result, a push or pull, a model
_KEY = 4  # bytes of a row's key


@dataclass(frozen=True)
class Exchange:
    """One flow of a design on the p nodes of the run.

    Attributes
    ----------
    ranks : p nodes that compute, and `extra` servers or a coordinator
    down, up : bytes of one exchange: of a request or a pulled table, and of an answer, a push, a sum or a gossiped
        value
    compute : mean seconds of a node before each exchange, of `between` steps; of one task where there are `tasks`
    dealt : whether each task has its node, instead of the next free one
    needed : answers that a coordinator waits for; 0: all
    late : median turnarounds after which an idle node runs a task again; None: never
    copies : nodes that can answer for a shard
    deadline : seconds that a federated server waits in a round
    """

    flow: Flow
    model: str
    bound: int
    p: int
    extra: int
    down: int
    up: int
    compute: float
    between: int = 1
    tasks: int = 0
    dealt: bool = False
    algorithm: str = ""
    rows: int = 0
    row_bytes: int = 0
    touched: int = 0
    needed: int = 0
    late: float | None = None
    copies: int = 1
    deadline: float = math.inf

    @property
    def ranks(self) -> int:
        return self.p + self.extra

    @property
    def prefetch(self) -> int:
        """Tasks that a node holds in advance: none where one may be cancelled before it begins."""
        return 0 if self.needed or self.late else 1

    @property
    def owners(self) -> list[list[int]] | None:
        """For each request or task, the nodes (from 0) that can answer it; None if any node can."""
        if self.dealt:
            return [[task % self.p] for task in range(self.tasks)]
        return None if self.tasks else [[(i + k) % self.p for k in range(self.copies)] for i in range(self.p)]

    @property
    def waits(self) -> bool:
        """Whether nodes wait for one another in every exchange."""
        return self.flow.kind.waits_for_all or self.model == "synchronous"

    @property
    def meets(self) -> bool:
        """Whether all nodes, or a quorum, wait for each other, so that earlier compute times do not matter."""
        return self.waits and not self.flow.kind.graph

    @property
    def slack(self) -> float:
        """Exchanges by which a message may be late; infinite if nothing is waited for."""
        return {"synchronous": 0, "bounded": self.bound}.get(self.model, math.inf)

    def count(self, spread: float) -> int:
        """Number of exchanges to run, see `enough`; few if no random time makes them differ."""
        return WARM_UP + (enough(self.meets, self.p, self.tasks) if (spread and self.compute) or not self.waits else 6)

    def smallest(self) -> Exchange:
        """The same exchange with messages of one element."""
        if self.touched:
            few = self.flow.servers
            return replace(self, touched=few, up=few * (self.row_bytes + KEY_BYTES), down=few * self.row_bytes)
        least = 8 * max(1, self.flow.servers) if not self.flow.kind.sums else ITEM * self.p
        return replace(self, down=min(self.down, least), up=min(self.up, least))

    def draws(self, spread: float, count: int, seed: int) -> NDArray[np.float64]:
        """Draw compute times, sums of `between` log-normal steps, for each of `count` exchanges and p nodes.

        A node that answers a coordinator has several of them, in the middle dimension: one for each task that it pulls,
        one for all that it is dealt, which is its step.
        """
        pulled = 1 if self.dealt else 2 * max(1, -(-self.tasks // self.p))
        attempts = (pulled,) if self.flow.kind.requests else ()
        rng = np.random.default_rng((seed, self.tasks or self.p, count))
        draw = stratified_normals if self.meets else np.random.Generator.standard_normal
        normal = draw(rng, (count, *attempts, self.between, self.p))
        factors = lognormal(normal, spread).sum(axis=-2)
        # The sample has the declared mean: what is left to chance is only how much nodes wait for each other.
        return self.compute * factors / factors[WARM_UP:].mean()


def enough(meets: bool, p: int, tasks: int = 0) -> int:
    """Number of exchanges that give the mean wait of p nodes to about 3 % (4 % with many tasks or nodes).

    Nodes that do not meet (`Exchange.meets`) need some to settle.
    """
    if meets:
        return max(40, min(STRATIFIED, 8_000 // max(1, tasks)))
    return max(120, min(INDEPENDENT, 2_500 // p))


def price(one: Exchange, computes: NDArray[np.float64], ways: Ways, beside: Sequence[Exchange] = ()) -> float:
    """Seconds of one exchange in the steady state, by following all messages.

    Parameters
    ----------
    beside : further exchanges with the same servers in the same step, where no node waits for all others
    """
    computes = computes * [ways.slowdown(one.extra + node) for node in range(one.p)]
    if one.flow.kind.servers and (one.touched or not one.waits):
        return _loose((one, *beside), computes, ways)
    count = len(computes) - WARM_UP
    if one.flow.kind.requests:
        tasks = one.tasks or one.p
        rules = coordinator.Rules(tasks, one.needed or tasks, one.down + _REQUEST, one.up + _REPORT, one.prefetch,
                                  one.late, one.owners)  # fmt: skip
        ends = coordinator.requests(computes, rules, ways)
    elif one.flow.kind.rounds:
        ends = coordinator.rounds(computes, one.down + _MODEL, one.up + _MODEL, one.deadline, ways)
    else:
        of = max if one.waits else statistics.fmean
        done = [of(follow(_programs(one, part), ways)) for part in (computes[:WARM_UP], computes)]
        return float(done[1] - done[0]) / count
    return (ends[-1] - ends[WARM_UP - 1]) / count


def _programs(one: Exchange, computes: NDArray[np.float64]) -> list[Any]:
    if one.flow.kind.sums:
        return steps.all_reduces(computes, costs.ALL_REDUCES[one.algorithm], one.up // ITEM, ITEM)
    if one.flow.kind.graph:
        return steps.gossips(computes, graphs.targets(one.flow.graph, one.p), one.up, one.slack)
    k = one.flow.servers
    return steps.services(computes, k, one.up / k + _HEADER, one.down / k + _HEADER)


def _loose(flows: Sequence[Exchange], computes: NDArray[np.float64], ways: Ways) -> float:
    """Seconds of an exchange of workers whose messages queue at the servers' cards as they come; slack 0: all wait."""
    one = flows[0]
    alone = len(flows) == 1
    calls = [_call(flow, alone) for flow in flows]
    ends = services.loose(computes, one.flow.servers, calls, ways, one.slack, pulled=alone).mean(axis=1)
    return float(ends[-1] - ends[WARM_UP - 1]) / (len(ends) - WARM_UP)


def _call(one: Exchange, alone: bool) -> services.Call:
    """The bytes of a pull and a push at one server; for the only table, exchanged whole, they are one message."""
    k = one.flow.servers
    keys = one.touched * _KEY
    push, pull = (one.up - one.touched * KEY_BYTES + keys) / k + _HEADER, one.down / k + _HEADER
    asked = keys / k + _HEADER if keys else None if alone else 0.0
    return services.Call(asked, pull, push)
