"""`demos.design run`: run a design's program or its skeleton on real ranks, and compare it with its price by term."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import emulator
from demos._lib.cases.case import Case, program_of, ranks_for
from demos._lib.cases.terms import compare, steady
from demos._lib.design import report
from demos._lib.design.receipts import kept
from demos._lib.program import SheetRequest
from emulator import design
from emulator.design.model import facts_and_design
from emulator.design.prices import pricing
from emulator.design.prices.exchange import Exchange
from emulator.design.prices.skeleton import TERMS, Skeleton, network_of, off, skeleton, unjudged
from emulator.launch import job
from emulator.run import execution
from emulator.run.demo_run import CommonOptions, Run
from emulator.run.options import relaunch


def start(asked: SheetRequest, most: int, simulated: bool, cap: int, options: dict[str, Any]) -> int:
    """Run a sheet's program, or its design's skeleton if it names none; returns the exit status.

    Parameters
    ----------
    most, simulated : at most so many ranks, simulated or real. Outside a job it starts mpirun with as many real ones as
        are needed; inside, it has the job's.
    """
    facts, chosen = facts_and_design(asked.sheet, asked.terms)
    inside = not simulated and job.inside()
    if inside:
        from mpi4py import MPI

        most = MPI.COMM_WORLD.Get_size()
    body: Callable[[Run], None]
    case = program_of(asked.sheet, asked.path)
    if case is not None:
        ranks = ranks_for(asked.sheet, case, most)
        network, body = network_of(asked.sheet, facts, ranks), partial(_program, asked=asked, case=case)
    else:
        made = skeleton(asked.sheet, facts, chosen, most, cap)
        if simulated:
            return _simulate_skeleton(asked, made, options)
        ranks, network, body = made.ranks, made.network, partial(_body, asked=asked, made=made)
    if not simulated and not inside:
        return relaunch(ranks)
    common = CommonOptions(net=network, compute="none", sizes=[], ranks=None, budget=40.0, **options)
    if simulated:
        return execution.simulate("design", ranks, ranks, common, body)
    return execution.execute("design", ranks, None, common, body)


def _program(run: Run, asked: SheetRequest, case: Case) -> None:
    if run.rank == 0:
        run.extra |= _prediction(asked)
    run.show()
    found = compare(run, case, asked.sheet)
    if found is not None:
        run.extra["design_run"] = found
        run.measurements.append(_measurement(found["patterns"], run.size, int(found["bytes"]), found["rows"][-1]))


def _prediction(asked: SheetRequest) -> dict[str, Any]:
    """The sheet and its prediction, as fields of a result."""
    priced = design.predict(asked.sheet, asked.terms)
    return kept(asked.sheet, report.record(priced, pricing.chosen_nodes(asked.sheet, priced)))


def _measurement(patterns: list[str], ranks: int, size: int, total: dict[str, Any]) -> dict[str, Any]:
    return {"pattern": "+".join(patterns), "ranks": ranks, "bytes": size, "seconds": {"median": total["measured"]},
            "predicted": total["predicted"]}  # fmt: skip


def _simulate_skeleton(asked: SheetRequest, made: Skeleton, options: dict[str, Any]) -> int:
    """Time the exchanges of a skeleton in simulations of their own; returns the exit status."""
    from mpi4py import MPI

    from demos._lib.design.skeleton import simulated
    from faults.cli.report import Report

    if not MPI.Is_initialized():
        MPI.Init()  # derived datatypes and statuses are the library's, also where no message is
    shown = Report("design", False, options["out"], options["json"], options["quiet"])
    with shown.begun(made.ranks, network=made.network.describe(), clock="simulated") as _:
        about = _about(asked, made)
        seed = options["seed"]
        priced_on = steady(made.network) or made.network

        inverted = 0

        def timed(each: Exchange, spread: float) -> float:
            nonlocal inverted
            took, more = simulated(priced_on, each, each.draws(spread, each.count(spread), seed), made.ranks)
            inverted += more
            return took

        measured = _total([made.by_term(timed, one) for one in made.exchanges])
        wrong = _compare(about["design_run"], made, measured, made.predicted(seed), inverted)
        shown.save(**about, failures=wrong)
        shown.show()
    for text in wrong:
        print(f"FAILED: {text}", file=sys.stderr)
    return 1 if wrong else 0


def _about(asked: SheetRequest, made: Skeleton) -> dict[str, Any]:
    """Result fields: the sheet, its prediction, and its skeleton's run without figures yet."""
    run = {
        "p": made.p, "ranks": made.ranks, "spread": made.spread, "notes": list(made.notes), "rows": [],
        "patterns": [one.flow.pattern for one in made.exchanges], "formula": dict(made.formula), "varying": None,
        "whole": not made.needs,
    }  # fmt: skip
    return _prediction(asked) | {"design_run": run}


def _body(run: Run, asked: SheetRequest, made: Skeleton) -> None:
    from demos._lib.design.skeleton import inversions, seconds

    if run.rank == 0:
        predicted = made.predicted(run.seed)
        run.extra |= _about(asked, made)
    run.show()
    found, varying, priced_on = [], 0.0, steady(run.network)
    comm = (
        None
        if priced_on is None
        else emulator.emulate(run.control, priced_on, pace=run.pace, compute="none", seed=run.seed)
    )
    for number, one in enumerate(made.exchanges):

        def timed(each: Exchange, spread: float, seed: int = run.seed + number, on: Any = comm) -> float:
            return seconds(run, each, each.draws(spread, each.count(spread), seed), on)

        found.append(made.by_term(timed, one))
        if comm is not None:
            spread = made.spread if one.compute else 0.0
            varying += (timed(one, spread, on=None) - timed(one, spread)) / one.between
    inverted = inversions(run.comm if comm is None else comm)
    if run.rank == 0:
        told, measured = run.extra["design_run"], _total(found)
        told["varying"] = varying if comm is not None else None
        for text in _compare(told, made, measured, predicted, inverted):
            run.fail(text)
        size = sum(one.up for one in made.exchanges)
        run.measurements.append(_measurement(told["patterns"], made.ranks, size, told["rows"][-1]))


def _total(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The terms of a step and their total, from those of its exchanges."""
    summed = {term: sum(one[term] for one in found) for term in TERMS}
    return summed | {"total": sum(summed.values())}


def _compare(
    told: dict[str, Any], made: Skeleton, measured: Mapping[str, float], predicted: Mapping[str, float], inverted: int
) -> list[str]:
    """Compare measured with predicted terms; returns a sentence on terms with too large an error, if any.

    Parameters
    ----------
    inverted : messages of the run that a card or link which ranks share served out of order: the price has none of them
    """
    for term in (*TERMS, "total"):
        seen, said = (float(each[term]) if abs(each[term]) > 1e-9 * measured["total"] else 0.0
                      for each in (measured, predicted))  # fmt: skip
        told["rows"].append({"term": term, "measured": seen, "predicted": said, "share": seen / measured["total"]})
    told["inversions"], told["unjudged"] = inverted, unjudged(made, measured)
    doubt = f"unreliable: {inverted} messages passed a shared card or link out of order, which no price covers"
    wrong = [f"{term} measured {measured[term]:.4g} s, predicted {predicted[term]:.4g} s"
             for term in off(measured, predicted)]  # fmt: skip
    return ["more than 15 % off: " + "; ".join([*wrong, *[doubt] * bool(inverted)])] if wrong else []
