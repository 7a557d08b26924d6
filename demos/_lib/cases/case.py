"""Case studies: the contract of the module that a sheet names as its `program`, and the sheet cut to this machine.

A case is a module, such as `demos.cases.rag`, with

    RANKS                          fewest ranks that it works on
    scaled(sheet, ranks)           the same design with the sizes that this machine holds: bytes, rows, declared
                                   computing, and `partition.nodes`; its prediction is what the program is held to
    data(control, sheet)           what the steps work on, made once, on the real communicator of the job
    timed(comm, sheet, data, steps)  some steps of the real program on a communicator, with real messages and with the
                                   declared computing of the scaled sheet; gives when this rank was done with each
    main                           its own screen, `python -m demos.cases.rag` (`demos._lib.cases.output`)

and, where its ranks may die,

    DRILL                          a `faults.patterns.catalogue.Pattern` whose option ``program`` is the module's name:
                                   the policies, steps and oracle of its drill
    run(spec, folder, tools)       one rank's side of the job in which ranks die; gives its result for the oracle

Its terms are measured and priced by `demos._lib.cases.terms`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from demos._lib.program import PARTS
from emulator.costs.waiting import lognormal, stratified_normals
from emulator.design.model import facts_and_design
from emulator.design.prices import pricing
from emulator.design.prices import skeleton as skeletons
from emulator.design.sheets.sheet import Sheet, load
from emulator.design.sheets.tables import Network as NetworkTable
from emulator.errors import UsageError
from emulator.run.demo_run import Run

Times = NDArray[np.float64]
Fields = Mapping[str, Any]
Ends = list[float]
"""When this rank was done with each step, in seconds; empty on a rank that only serves."""


@dataclass(frozen=True)
class Steps:
    """The number of steps to run, of which the first `skeletons.WARM_UP` do not count, and their spread.

    `stratified` is for steps in which all nodes wait for each other: their mean wait is known from fewer.
    """

    count: int
    spread: float = 0.0
    seed: int = 0
    stratified: bool = False

    def factors(self, columns: int) -> Times:
        """Draw log-normal factors for the compute times of every step (row) and node or task (column).

        Those that count have mean 1: what is left to chance is only how much nodes wait for each other.
        """
        rng = np.random.default_rng((self.seed, columns, self.count))
        draw = stratified_normals if self.stratified else np.random.Generator.standard_normal
        normal = draw(rng, (self.count, columns))
        drawn = lognormal(normal, self.spread)
        factors: Times = drawn / drawn[skeletons.WARM_UP :].mean()
        return factors


def fewer(steps: int, ranks: int, least: int) -> int:
    """An even number of steps, at least `least`, that many ranks run in the time that 16 ranks need for `steps`."""
    return max(least, steps * 16 // max(16, ranks)) // 2 * 2


class Case(Protocol):
    """The functions of a case module; see the module docstring."""

    RANKS: int
    main: Any

    def scaled(self, sheet: Sheet, ranks: int) -> Sheet:
        """The design cut to the size of this machine."""

    def data(self, control: MPI.Intracomm, sheet: Sheet) -> Any:
        """Make the data on which the steps of a scaled sheet work; collective over the real communicator."""

    def timed(self, comm: MPI.Intracomm, sheet: Sheet, data: Any, steps: Steps) -> Ends:
        """Run steps of the program; collective over `comm`."""


def program_of(sheet: Sheet, path: str) -> Case | None:
    """Import the module that a sheet names as its program; None if it names none.

    Raises
    ------
    UsageError
        It cannot be imported, or is no case.
    """
    if sheet.program is None:
        return None
    legal = f"{path}: program must be a module with {', '.join(PARTS)}, got {sheet.program!r}: "
    try:
        found: Any = importlib.import_module(sheet.program)
    except UsageError:
        raise
    except Exception as error:  # whatever the module does as it is imported
        reason = str(error).splitlines()[0] if str(error) else ""
        raise UsageError(f"{legal}{type(error).__name__}: {reason}") from None
    if missing := [name for name in PARTS if not hasattr(found, name)]:
        raise UsageError(f"{legal}it has no {', '.join(missing)}")
    case: Case = found
    return case


def sheet_beside(file: str, run: Run | None = None) -> Sheet:
    """The sheet beside a case's module, given its ``__file__``, of the same name.

    With `run` its network is that of the run, which a user has chosen by ``--net``, and the preset `shm` without one.
    """
    found = load(Path(file).with_suffix(".toml"))
    return found if run is None else on_network(found, str(run.options.net or "shm"))


def ranks_for(sheet: Sheet, case: Case, most: int) -> int:
    """As many ranks as the sheet has nodes, servers and a coordinator, but at most `most`.

    Raises
    ------
    UsageError
        Fewer than the case needs.
    """
    facts, chosen = facts_and_design(sheet)
    asked = min(pricing.chosen_nodes(sheet, pricing.price(facts, chosen)), facts.job.most)
    ranks = min(most, asked + chosen.beside)
    if ranks < case.RANKS:
        raise UsageError(f"{sheet.program} needs at least {case.RANKS} ranks, got -n {most}: give more")
    return ranks


def on_network(sheet: Sheet, name: str) -> Sheet:
    """The sheet with another network, a preset or a file."""
    return sheet.model_copy(update={"network": NetworkTable(preset=name)})


def cut(sheet: Sheet, nodes: int, job: Fields | None = None, **parts: Fields) -> Sheet:
    """The design on fewer nodes, each of which computes as long as a node of the sheet; sizes replaced.

    Parameters
    ----------
    job : fields of the job to replace, `t_comp` if a node is not to compute as long as one of the sheet's
    **parts : for each state part, task or flow (by the name of what it exchanges) the fields to replace
    """
    asked = pricing.chosen_nodes(sheet, pricing.predict(sheet))

    def replaced(rows: Any, name: str) -> Any:
        given = {each: parts.get(getattr(each, name), {}) for each in rows}
        return tuple(each.model_copy(update={key: value for key, value in fields.items() if hasattr(each, key)})
                     for each, fields in given.items())  # fmt: skip

    assert sheet.partition is not None
    return sheet.model_copy(update={
        "job": sheet.job.model_copy(update={"t_comp": sheet.job.t_comp * nodes / asked, **(job or {})}),
        "state": replaced(sheet.state, "name"), "task": replaced(sheet.task, "name"),
        "communication": replaced(sheet.communication, "of"),
        "partition": sheet.partition.model_copy(update={"nodes": nodes}),
    })  # fmt: skip
