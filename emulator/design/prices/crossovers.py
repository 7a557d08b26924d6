"""The figures at which a choice changes, as sentences: "recursive doubling is quicker than a ring below 9000 bytes"."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from emulator import costs
from emulator.costs import waiting
from emulator.design.model import Facts
from emulator.design.planning.legal_designs import policies
from emulator.design.prices import communication, pricing
from emulator.design.prices.pricing import Priced
from emulator.design.sheets.descriptions import counted
from emulator.design.sheets.tables import KEY_BYTES


def sentences(facts: Facts, priced: Priced, nodes: int) -> list[str]:
    """Describe all crossovers of a design at its node count."""
    return [*_touched(facts, priced, nodes), *_algorithms(facts, priced, nodes), *_barrier(facts, priced, nodes),
            *_policies(facts, priced, nodes)]  # fmt: skip


def bisect(better: Callable[[float], bool], low: float, high: float, tries: int = 60) -> float | None:
    """Find, on a logarithmic scale, where a comparison changes between two positive numbers; None if it does not."""
    if better(low) == better(high):
        return None
    at_low = better(low)
    for _ in range(tries):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if better(middle) == at_low else (low, middle)
    return math.sqrt(low * high)


def _touched(facts: Facts, priced: Priced, nodes: int) -> Iterator[str]:
    """The share of touched rows below which a parameter server is faster than an all-reduce."""
    for state in facts.states:
        if not state.touched:
            continue
        servers = priced.design.servers or 1
        reduced = min(costs.seconds(name, nodes, state.dense, facts.alpha, facts.beta, facts.gamma)
                      for name in communication.AUTO)  # fmt: skip
        row = state.row_bytes + KEY_BYTES

        def server_wins(share: float, most: int = state.rows * row, k: int = servers, than: float = reduced) -> bool:
            terms = (facts.alpha, facts.beta, facts.gamma)
            return bool(costs.seconds("parameter_server", nodes, share * most, *terms, servers=k) < than)

        turn = bisect(server_wins, 1 / state.rows, 1.0)
        if turn is not None:
            yield (f"{state.name}: a parameter server of {servers} beats all-reduce below {100 * turn:.2g} % touched "
                   f"rows at p = {nodes} (this job touches {100 * state.touched / state.rows:.2g} %)")  # fmt: skip


def _algorithms(facts: Facts, priced: Priced, nodes: int) -> Iterator[str]:
    """The vector length below which recursive doubling, of few latencies, is faster than a ring, of few bytes."""
    if nodes < 3 or not any(kind.sums for kind in priced.design.kinds):
        return
    terms = (facts.alpha, facts.beta, facts.gamma)

    def short_wins(n: float) -> bool:
        return bool(costs.seconds("recursive_doubling", nodes, n, *terms) < costs.seconds("ring", nodes, n, *terms))

    turn = bisect(short_wins, 1.0, 1e12)
    if turn is not None:
        yield f"all-reduce: recursive doubling is quicker than a ring below {turn:.3g} bytes at p = {nodes}"


def _barrier(facts: Facts, priced: Priced, nodes: int) -> Iterator[str]:
    """The spread above which waiting at a barrier takes more than 30 % of the computing time."""
    if nodes < 2 or priced.design.model != "synchronous":
        return
    turn = bisect(lambda spread: bool(waiting.slowest(nodes, spread) < 1.3), 1e-3, 3.0)
    if turn is not None:
        yield (f"a barrier of {nodes} nodes waits 1.3 times the mean from a spread of {turn:.2g} on (this job has "
               f"{facts.job.spread:g})")  # fmt: skip


def _policies(facts: Facts, priced: Priced, nodes: int) -> Iterator[str]:
    """The node MTBF below or above which another recovery policy is better."""
    if facts.job.mtbf is None:
        return
    p = np.array([nodes])
    for other in policies(facts, replace(priced.design, replicas=0, spares=0)):
        if other.policy == priced.design.policy:
            continue

        def stays(mtbf: float, other=other) -> bool:  # type: ignore[no-untyped-def]
            varied = facts.scaled(mtbf=mtbf)
            ours, theirs = (pricing.price(varied, one, p).job[0] for one in (priced.design, other))
            return bool(ours <= theirs)

        turn = bisect(stays, facts.job.mtbf / 1e4, facts.job.mtbf * 1e4)
        if turn is not None:
            side = "below" if stays(facts.job.mtbf * 1e4) else "above"
            name = other.policy + (f" ({counted(other.spares, 'node')})" if other.spares else "")
            yield (f"{name} beats {priced.design.policy} {side} an MTBF of {turn / 3600:.3g} h per node (this "
                   f"job has {facts.job.mtbf / 3600:.3g} h)")  # fmt: skip
