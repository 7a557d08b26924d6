"""Pattern x policy x fault: which survive, and what each costs. The table from which a user chooses.

Every cell is a drill of its own, with all of its checks. A cell that a pattern cannot do is not run, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.drill import drill
from faults.drill.drill import Outcome
from faults.drill.request import Order, even_hosts
from faults.launch.supervise import need_ulfm
from faults.patterns.catalogue import CATALOGUE, Blueprint, check_names
from faults.plan import parse

STEP = 12  # of every pattern's run: past the first checkpoint, with ballast, with steps left to measure afterwards
SURVIVED, FAILED, REFUSED = "survived", "failed", "refused"


@dataclass(frozen=True)
class Scenario:
    """A fault of the matrix.

    Attributes
    ----------
    lines
        The fault lines for so many ranks of a pattern.
    needs
        An option that a pattern must have for this fault to mean something to it.
    options
        What the job's options are to be.
    net
        The emulated network that the fault is one of, where none is chosen.
    """

    about: str
    lines: Callable[[int, Blueprint], tuple[str, ...]]
    needs: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    net: str | None = None

    def fits(self, pattern: str) -> bool:
        return self.needs is None or self.needs in CATALOGUE[pattern].options


SCENARIOS = {
    "middle": Scenario("a middle rank is killed", lambda n, plan: (f"kill {n // 2} @ step {STEP}",)),
    "first": Scenario("rank 0 is killed", lambda n, plan: (f"kill 0 @ step {STEP}",)),
    "two": Scenario("two ranks are killed at once", lambda n, plan: (f"kill {n // 2 - 1},{n // 2} @ step {STEP}",)),
    "host": Scenario("the second of two hosts dies with its ranks", lambda n, plan: (f"kill host 1 @ step {STEP}",)),
    "transfer": Scenario(
        "a middle rank is killed within a transfer of 16 MiB",
        lambda n, plan: (f"kill {n // 2} @ step {STEP} {plan.transfer}",),
        needs="ballast",
        options={"ballast": 16 << 20},
    ),
    "recovery": Scenario(
        "another rank is killed while the first death is repaired",
        lambda n, plan: (f"kill {n // 2} @ step {STEP}", f"kill {n // 2 - 1} @ recovery"),
    ),
    "hang": Scenario("a middle rank is stopped for good", lambda n, plan: (f"hang {n // 2} @ step {STEP}",)),
    "slow": Scenario("a middle rank computes 4 times slower", lambda n, plan: (f"slow {n // 2} @ step {STEP} by 4",)),
    "cut": Scenario(
        "the network is cut in two for 50 emulated ms",
        lambda n, plan: (f"cut 0-{n // 2 - 1}|{n // 2}-{n - 1} @ step {STEP} for 50 ms",),
        net="1gbe",
    ),
    "lose": Scenario(
        "a middle rank loses one message in 20", lambda n, plan: (f"lose {n // 2} @ step {STEP} by 5 %",), net="1gbe"
    ),
    "lie": Scenario(
        "a client sends what it found with the sign flipped",
        lambda n, plan: (f"lie {n - 1} @ step 0",),
        needs="rule",
        options={"rule": "median", "liars": 1},
    ),
}


@dataclass(frozen=True)
class Cell:
    """One drill of the matrix, before it is run."""

    pattern: str
    policy: str
    fault: str

    def order(
        self, ranks: int, spares: int, seed: int, repeat: int, deadline_s: float, net: str | None = None
    ) -> Order:
        scenario = SCENARIOS[self.fault]
        return Order(
            self.pattern,
            ranks,
            [parse(line) for line in scenario.lines(ranks, CATALOGUE[self.pattern])],
            self.policy,
            spares if self.policy == "spare" else 0,
            seed=seed,
            repeat=repeat,
            options=dict(scenario.options),
            hosts=even_hosts(ranks, spares if self.policy == "spare" else 0, 2) if self.fault == "host" else None,
            net=net or scenario.net,
            deadline_s=deadline_s,
        )


@dataclass
class Result:
    """What came of a cell: survived, failed (`why` says where) or refused (`why` says what forbids it)."""

    cell: Cell
    outcome: str
    why: str = ""
    drill: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        cell = self.cell
        return {
            "pattern": cell.pattern,
            "recovery": cell.policy,
            "fault": cell.fault,
            "outcome": self.outcome,
            "why": self.why or None,
            "drill": self.drill,
        }


def cells(patterns: Sequence[str] = (), policies: Sequence[str] = (), faults: Sequence[str] = ()) -> list[Cell]:
    """The cells of the chosen patterns, policies and faults; of all where none is named.

    Raises
    ------
    UsageError
        An unknown name, or a choice without any cell.
    """
    check_names("pattern", patterns, CATALOGUE)
    check_names("policy", policies, [policy for plan in CATALOGUE.values() for policy in plan.policies])
    check_names("fault of the matrix", faults, SCENARIOS)
    found = [
        Cell(pattern, policy, fault)
        for pattern in patterns or CATALOGUE
        for policy in CATALOGUE[pattern].policies
        for fault in faults or SCENARIOS
        if (not policies or policy in policies) and SCENARIOS[fault].fits(pattern)
    ]
    if not found:
        has = "; ".join(f"{name} recovers by {', '.join(CATALOGUE[name].policies)}" for name in patterns)
        raise UsageError(f"none of these patterns can be put to this test: {has or 'choose more of them'}")
    return found


def refusal(cell: Cell, order: Order) -> str:
    """Why a cell cannot be run; empty if it can."""
    try:
        need_ulfm(mpirun.find_mpi(), cell.policy)
        order.spec(order.seed)
    except UsageError as error:
        return str(error)
    return ""


def run(
    chosen: Sequence[Cell],
    folder: Path,
    *,
    ranks: int = 6,
    spares: int = 1,
    seed: int = 0,
    repeat: int = 1,
    deadline_s: float = 120.0,
    net: str | None = None,
) -> Iterator[Result]:
    """Drill one cell after the other; the fault-free job is run once for each of a pattern's policies."""
    calm: dict[str, float] = {}
    for cell in chosen:
        order = cell.order(ranks, spares, seed, repeat, deadline_s, net)
        if why := refusal(cell, order):
            yield Result(cell, REFUSED, why)
            continue
        job = f"{cell.pattern} {cell.policy} {order.options} {order.net}"
        place = folder / f"{cell.pattern}-{cell.policy}-{cell.fault}"
        try:
            outcome = drill.run(order, place, steady=job not in calm)
        except UsageError as error:  # the job does not even work without a fault
            yield Result(cell, FAILED, str(error))
            continue
        outcome.fault_free_s = calm.setdefault(job, outcome.fault_free_s)
        yield _result(cell, outcome)


def _result(cell: Cell, outcome: Outcome) -> Result:
    failed = next((j for j in outcome.judgements if not j.recovered), None)
    why = f"{failed.phase}: {failed.reason}" if failed else ""
    return Result(cell, FAILED if failed else SURVIVED, why, drill.record(outcome))
