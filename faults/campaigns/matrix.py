"""Run a drill for each pattern, policy and fault: which recover, and at what cost.

Every cell is a drill of its own, with all of its checks. A cell that a pattern cannot do is refused, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emulator import policies
from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.drill import drill
from faults.drill.request import Request
from faults.launch.supervise import need_ulfm
from faults.patterns.catalogue import CATALOGUE, Pattern, check_names

STEP = 12  # of every pattern's run: past the first checkpoint, with ballast, with steps left to measure afterwards
SURVIVED, FAILED, REFUSED = "survived", "failed", "refused"


@dataclass(frozen=True)
class Scenario:
    """A fault of the matrix, and the jobs that it applies to.

    Attributes
    ----------
    lines : the fault lines for so many ranks of a pattern
    needs : an option that a pattern must have for this fault to mean something to it
    options : what the job's options are to be
    net : the emulated network that the fault is one of, where none is chosen
    hosts : hosts of the job, in even blocks of ranks
    """

    about: str
    lines: Callable[[int, Pattern], tuple[str, ...]]
    needs: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    net: str | None = None
    hosts: int | None = None

    def fits(self, pattern: str) -> bool:
        return self.needs is None or self.needs in CATALOGUE[pattern].options


SCENARIOS = {
    "middle": Scenario("a middle rank is killed", lambda n, pattern: (f"kill {n // 2} @ step {STEP}",)),
    "first": Scenario("rank 0 is killed", lambda n, pattern: (f"kill 0 @ step {STEP}",)),
    "two": Scenario("two ranks are killed at once", lambda n, pattern: (f"kill {n // 2 - 1},{n // 2} @ step {STEP}",)),
    "host": Scenario(
        "the second of two hosts dies with its ranks", lambda n, pattern: (f"kill host 1 @ step {STEP}",), hosts=2
    ),
    "transfer": Scenario(
        "a middle rank is killed within a transfer of 16 MiB",
        lambda n, pattern: (f"kill {n // 2} @ step {STEP} {pattern.transfer}",),
        needs="ballast",
        options={"ballast": 16 << 20},
    ),
    "recovery": Scenario(
        "another rank is killed while the first death is repaired",
        lambda n, pattern: (f"kill {n // 2} @ step {STEP}", f"kill {n // 2 - 1} @ recovery"),
    ),
    "hang": Scenario("a middle rank is stopped for good", lambda n, pattern: (f"hang {n // 2} @ step {STEP}",)),
    "slow": Scenario(
        "a middle rank computes 4 times slower", lambda n, pattern: (f"slow {n // 2} @ step {STEP} by 4",)
    ),
    "cut": Scenario(
        "the network is cut in two for 50 emulated ms",
        lambda n, pattern: (f"cut 0-{n // 2 - 1}|{n // 2}-{n - 1} @ step {STEP} for 50 ms",),
        net="1gbe",
    ),
    "lose": Scenario(
        "a middle rank loses one message in 20", lambda n, pattern: (f"lose {n // 2} @ step {STEP} by 5 %",), net="1gbe"
    ),
    "lie": Scenario(
        "a client sends what it found with the sign flipped",
        lambda n, pattern: (f"lie {n - 1} @ step 0",),
        needs="rule",
        options={"rule": "median", "liars": 1},
    ),
}


@dataclass(frozen=True)
class Cell:
    """One drill of the matrix, before it is run."""

    pattern: str
    recovery: str
    fault: str

    def request(self, base: Request) -> Request:
        """The drill of this cell, with the ranks, spares, repeats and network of `base`."""
        scenario, policy = SCENARIOS[self.fault], policies.of(self.recovery)
        return replace(
            base,
            pattern=self.pattern,
            faults=scenario.lines(base.ranks, CATALOGUE[self.pattern]),
            recovery=self.recovery,
            spares=base.spares if policy.has_spares else 0,
            options=dict(scenario.options),
            hosts=scenario.hosts,
            net=base.net or scenario.net,
        )


@dataclass(frozen=True)
class Result(Cell):
    """A cell that survived, failed (`why` says where) or was refused (`why` says what forbids it)."""

    outcome: str = ""
    why: str | None = None
    drill: dict[str, Any] | None = None


def cells(patterns: Sequence[str] = (), policies: Sequence[str] = (), faults: Sequence[str] = ()) -> list[Cell]:
    """The cells of the chosen patterns, policies and faults; of all where none is named.

    Raises
    ------
    UsageError
        An unknown name, or a choice without any cell.
    """
    check_names("pattern", patterns, CATALOGUE)
    check_names("policy", policies, [policy for pattern in CATALOGUE.values() for policy in pattern.policies])
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


def refusal(cell: Cell, request: Request) -> str:
    """Why a cell cannot be run; empty if it can be."""
    try:
        if not request.simulate:
            need_ulfm(mpirun.find_mpi(), cell.recovery)
        request.spec()
    except UsageError as error:
        return str(error)
    return ""


def run(chosen: Sequence[Cell], base: Request, folder: Path) -> Iterator[Result]:
    """Drill one cell after the other; the fault-free job is run once for each of a pattern's policies."""
    fault_free: dict[str, float] = {}
    for cell in chosen:
        request = cell.request(base)
        if refused := refusal(cell, request):
            yield Result(**vars(cell), outcome=REFUSED, why=refused)
            continue
        job = f"{cell.pattern} {cell.recovery} {request.options} {request.net}"
        place = folder / f"{cell.pattern}-{cell.recovery}-{cell.fault}"
        try:
            outcome = drill.run(request, place, steady=job not in fault_free)
        except UsageError as error:  # the job does not even work without a fault
            yield Result(**vars(cell), outcome=FAILED, why=str(error))
            continue
        outcome.fault_free_s = fault_free.setdefault(job, outcome.fault_free_s)
        failed = outcome.failed
        why = f"{failed.phase}: {failed.reason}" if failed else None
        yield Result(**vars(cell), outcome=FAILED if failed else SURVIVED, why=why, drill=outcome.to_json())
