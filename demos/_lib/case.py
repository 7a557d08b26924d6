"""Case studies: what the module that a sheet names as its `program` gives, and its run beside the sheet's price.

A case is a module, such as `demos.cases.rag`, with

    RANKS                          fewest ranks that it works on
    scaled(sheet, ranks)           the same design with the sizes that this machine holds: bytes, rows, declared
                                   computing, and `partition.nodes`; its prediction is what the program is held to
    data(control, sheet)           what the steps work on, made once, on the real communicator of the job
    timed(comm, sheet, data, steps)  some steps of the real program on a communicator, with real messages and with the
                                   declared computing of the scaled sheet; gives when this rank was done with each
    main                           its own screen, `python -m demos.cases.rag` (`demos._lib.screen`)

and, where its ranks may die,

    DRILL                          a `faults.patterns.catalogue.Pattern` whose option ``program`` is the module's name:
                                   the policies, steps and oracle of its drill
    run(spec, folder, tools)       one rank's side of the job in which ranks die; gives the verdict for the oracle

The program's messages cannot be made smaller, so its terms are differences of runs of the same steps on networks of
which a part was removed: without latency and bandwidth (compute), with latency (latency), whole (bandwidth), and with
unequal computing times (waiting). Jitter and loss have no price: the terms are measured without them, and what they add
to a step is measured beside the terms.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import emulator
from emulator import carrier
from emulator.costs.waiting import lognormal
from emulator.design import pricing
from emulator.design import skeleton as skeletons
from emulator.design.model import design_of, facts_of
from emulator.design.sheet import Network as NetworkTable
from emulator.design.sheet import Sheet, load
from emulator.errors import UsageError
from emulator.network import Network
from emulator.network.topology import Flat, LatencyOnly
from emulator.run.session import Run

Times = NDArray[np.float64]
Fields = Mapping[str, Any]
Ends = list[float]
"""When this rank was done with each step, in seconds; empty on a rank that only serves."""

_PARTS = ("RANKS", "scaled", "data", "timed", "main")
_EXCHANGES = 240  # steps with unequal computing times: their mean wait is known to about 3 %


@dataclass(frozen=True)
class Steps:
    """How many steps to run, the first `skeletons.WARM_UP` of which do not count, and how unequal they are."""

    count: int
    spread: float = 0.0
    seed: int = 0

    def factors(self, columns: int) -> Times:
        """Log-normal factors of mean 1 for the computing times of every step (row) and node or task (column)."""
        normal = np.random.default_rng((self.seed, columns, self.count)).standard_normal((self.count, columns))
        return lognormal(normal, self.spread)


class Case(Protocol):
    """What a case module has; see above."""

    RANKS: int
    main: Any

    def scaled(self, sheet: Sheet, ranks: int) -> Sheet:
        """The design at the size of this machine."""

    def data(self, control: MPI.Intracomm, sheet: Sheet) -> Any:
        """Make what the steps of a scaled sheet work on; collective over the real communicator."""

    def timed(self, comm: MPI.Intracomm, sheet: Sheet, data: Any, steps: Steps) -> Ends:
        """Run steps of the program; collective over `comm`."""


def program_of(sheet: Sheet, path: str) -> Case | None:
    """Import the module that a sheet names as its program; None where it names none.

    Raises
    ------
    UsageError
        It cannot be imported, or is no case.
    """
    if sheet.program is None:
        return None
    legal = f"{path}: program must be a module with {', '.join(_PARTS)}, got {sheet.program!r}: "
    try:
        found: Any = importlib.import_module(sheet.program)
    except UsageError:
        raise
    except Exception as error:  # whatever the module does as it is imported
        reason = str(error).splitlines()[0] if str(error) else ""
        raise UsageError(f"{legal}{type(error).__name__}: {reason}") from None
    if missing := [name for name in _PARTS if not hasattr(found, name)]:
        raise UsageError(f"{legal}it has no {', '.join(missing)}")
    case: Case = found
    return case


def sheet_beside(file: str, run: Run | None = None) -> Sheet:
    """The sheet that lies beside a case's module, whose ``__file__`` is given, under the same name.

    With `run` its network is that of the run, which a user has chosen by ``--net``, and the preset `shm` without one.
    """
    found = load(Path(file).with_suffix(".toml"))
    return found if run is None else on_network(found, run.options.net or "shm")


def ranks_for(sheet: Sheet, case: Case, most: int) -> int:
    """As many ranks as the sheet has nodes, servers and a coordinator, but at most `most`.

    Raises
    ------
    UsageError
        Fewer than the case needs.
    """
    facts, chosen = facts_of(sheet), design_of(sheet)
    asked = min(pricing.chosen_nodes(sheet, pricing.price(facts, chosen)), facts.job.most)
    ranks = min(most, asked + skeletons.beside(chosen))
    if ranks < case.RANKS:
        raise UsageError(f"{sheet.program} needs at least {case.RANKS} ranks, got -n {most}: give more")
    return ranks


def on_network(sheet: Sheet, name: str) -> Sheet:
    """The sheet with another network, a preset or a file."""
    return sheet.model_copy(update={"network": NetworkTable(preset=name)})


def cut(sheet: Sheet, nodes: int, job: Fields | None = None, **parts: Fields) -> Sheet:
    """The design on fewer nodes, each of which computes as long as one of the sheet's; sizes replaced.

    Parameters
    ----------
    job
        Fields of the job to replace, `t_comp` if a node is not to compute as long as one of the sheet's.
    **parts
        For each state part, task or flow (by the name of what it exchanges) the fields to replace.
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


def without(network: Network, latency: bool = False) -> Network:
    """The same hosts with unlimited bandwidth and nothing that varies; without `latency` no message takes any time."""
    plan = network.plan
    keep = 1.0 if latency else 0.0

    def bare(host: Any) -> Any:
        nic = replace(host.nic, egress_beta=0.0, ingress_beta=0.0, gap=0.0, latency=keep * host.nic.latency)
        own = replace(host.loopback, alpha=keep * host.loopback.alpha, beta=0.0)
        return replace(host, nic=nic, loopback=own)

    topology = LatencyOnly(plan.topology) if latency else Flat()
    return Network(replace(plan, hosts=tuple(map(bare, plan.hosts)), alpha=keep * plan.alpha, beta=0.0,
                           topology=topology, jitter=None, loss=None), network.ranks)  # fmt: skip


def steady(network: Network) -> Network | None:
    """The same network without jitter and loss, which no price covers; None if it has none of them."""
    plan = network.plan
    if plan.jitter is None and plan.loss is None:
        return None
    return Network(replace(plan, jitter=None, loss=None), network.ranks)


def compare(run: Run, case: Any, sheet: Sheet, data: Any = None) -> dict[str, Any] | None:
    """Run a case and put its terms beside the price of its scaled sheet; collective. The comparison, on rank 0.

    The sheet's network is that of the run. On the bare transport, whose terms are not configured, the step as a whole
    stands beside its price, without a verdict.
    """
    small = case.scaled(sheet, run.size)
    seconds = _Measured(run, case, small, case.data(run.control, small) if data is None else data)
    spread = small.job.spread
    if run.network is None:
        measured, varying = {"total": seconds.on(run.comm, Steps(skeletons.WARM_UP + 40, spread, run.seed))}, None
    else:
        measured, varying = _terms(run, seconds, spread)
    if run.rank:
        return None
    predicted, how = price(small, run.size, run.seed)
    total = measured["total"]
    rows = [{"term": term, "measured": seen, "predicted": predicted[term], "share": seen / total}
            for term, seen in measured.items()]  # fmt: skip
    found = {
        "program": sheet.program, "p": _nodes(small), "ranks": run.size, "spread": spread, "how": how,
        "patterns": list(dict.fromkeys(flow.pattern for flow in small.communication)), "rows": rows, "notes": [],
        "bytes": seconds.bytes, "varying": varying,
    }  # fmt: skip
    if run.network is not None and (wrong := skeletons.off(measured, predicted)):
        texts = [f"{term} measured {measured[term]:.4g} s, predicted {predicted[term]:.4g} s" for term in wrong]
        run.fail("more than 15 % off: " + "; ".join(texts))
    return found


@dataclass
class _Measured:
    """Runs of a case's steps, and the bytes of a step that all ranks send, where the network counts them."""

    run: Run
    case: Case
    sheet: Sheet
    data: Any
    bytes: float | None = None

    def on(self, comm: MPI.Intracomm, steps: Steps) -> float:
        """Mean seconds of a step after the warm-up; collective."""
        self.run.control.Barrier()
        carrier.of(comm).align()
        gathered = self.run.control.gather(self.case.timed(comm, self.sheet, self.data, steps))
        found = 0.0
        if gathered is not None:
            done = np.array([row for row in gathered if row]).mean(axis=0)
            found = float(done[-1] - done[skeletons.WARM_UP - 1]) / (len(done) - skeletons.WARM_UP)
        return float(self.run.control.bcast(found))


def _terms(run: Run, measured: _Measured, spread: float) -> tuple[dict[str, float], float | None]:
    """The terms of a step without jitter and loss, and the seconds that these add to it, where the network has any."""
    few = Steps(skeletons.WARM_UP + 6, 0.0, run.seed)
    many = Steps(skeletons.WARM_UP + _EXCHANGES, spread, run.seed)
    priced, times = steady(run.network), []
    for network in (without(run.network), without(run.network, latency=True), priced or run.network):
        comm = emulator.emulate(MPI.COMM_WORLD, network, compute="none", seed=run.seed)
        times.append(measured.on(comm, few))
    measured.bytes = comm.traffic().bytes / few.count
    if spread:
        times.append(measured.on(comm, many))
    varying = None
    if priced is not None:
        comm = emulator.emulate(MPI.COMM_WORLD, run.network, compute="none", seed=run.seed)
        varying = measured.on(comm, many) - times[-1]
    return _differences(times), varying


def _differences(times: Sequence[float]) -> dict[str, float]:
    """The terms and the total of a step from its seconds without messages, with latency, whole, and with spread."""
    found = np.diff([0.0, *times]).tolist() + [0.0] * (len(skeletons.TERMS) - len(times))
    return dict(zip(skeletons.TERMS, found, strict=True)) | {"total": times[-1]}


def _nodes(sheet: Sheet) -> int:
    """The nodes of a scaled sheet, which says how many."""
    assert sheet.partition is not None
    assert sheet.partition.nodes is not None
    return sheet.partition.nodes


def price(sheet: Sheet, ranks: int, seed: int) -> tuple[dict[str, float], str]:
    """The terms of a scaled sheet, by the same differences as they are measured by, and how they were found.

    Message by message where the design has a skeleton, else by the formulas of `predict`.
    """
    facts, chosen = facts_of(sheet), design_of(sheet)
    try:
        made = skeletons.skeleton(sheet, facts, chosen, ranks, cap=1 << 40)
    except UsageError:  # a choice that no skeleton follows
        row = pricing.price(facts, chosen).at(_nodes(sheet))
        return skeletons.first_order(row), "by formula"
    whole = made.wires
    ways = [(replace(whole, alpha=0.0, beta=0.0, egress=0.0), 0.0), (replace(whole, beta=0.0, egress=0.0), 0.0),
            (whole, 0.0), (whole, made.spread)]  # fmt: skip
    return _differences([_step(made, spread, wires, seed) for wires, spread in ways]), "message by message"


def _step(made: skeletons.Skeleton, spread: float, wires: skeletons.Wires, seed: int) -> float:
    """Seconds of a step: its exchanges one after another, or together where they meet at the same servers."""
    first, *others = made.exchanges
    if others and all(one.flow.pattern == "parameter-server" and not one.waits for one in made.exchanges):
        return skeletons.expected(first, spread, made.count(first), seed, wires, others)
    return sum(skeletons.expected(one, spread if one.compute else 0.0, made.count(one), seed, wires) / one.between
               for one in made.exchanges)  # fmt: skip
