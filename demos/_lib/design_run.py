"""`demos.design run`: a design's program or its skeleton on real ranks, measured beside its price by term."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import emulator
from demos._lib import design_report as report
from demos._lib.case import Case, program_of, ranks_for
from demos._lib.case_terms import compare, steady
from demos._lib.design_receipts import kept
from emulator import design
from emulator.design import pricing
from emulator.design.model import design_of, facts_of
from emulator.design.sheet import Sheet
from emulator.design.skeleton import TERMS, Skeleton, by_term, network_of, off, skeleton
from emulator.launch import job
from emulator.run.options import relaunch
from emulator.run.session import CommonOptions, Run, execute


def start(
    path: str, sheet: Sheet, terms: dict[str, Any] | None, most: int, cap: int, options: dict[str, Any]
) -> int:  # fmt: skip
    """Run a sheet's program, or the skeleton of its design where it names none; returns the exit status.

    Outside a job it starts mpirun with the ranks that are needed.
    """
    facts, chosen = facts_of(sheet, terms), design_of(sheet)
    inside = job.inside()
    if inside:
        from mpi4py import MPI

        most = MPI.COMM_WORLD.Get_size()
    case = program_of(sheet, path)
    if case is not None:
        ranks = ranks_for(sheet, case, most)
        if not inside:
            return relaunch(ranks)
        with _network_file(network_of(sheet, facts, ranks)[0]) as net:
            common = CommonOptions(net=net, compute="none", sizes=[], ranks=None, budget=40.0, **options)
            return execute("design", ranks, None, common, lambda run: _program(run, sheet, terms, case))
    made = skeleton(sheet, facts, chosen, most, cap)
    if not inside:
        return relaunch(made.ranks)
    with _network_file(made.network) as net:
        common = CommonOptions(net=net, compute="none", sizes=[], ranks=None, budget=40.0, **options)
        return execute("design", made.ranks, None, common, lambda run: _body(run, sheet, terms, made))


@contextlib.contextmanager
def _network_file(network: str) -> Iterator[str]:
    """The network by name, or its text as a file for as long as the run lasts."""
    if "\n" not in network:
        yield network
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.toml"
        path.write_text(network, encoding="utf-8")
        yield str(path)


def _program(run: Run, sheet: Sheet, terms: dict[str, Any] | None, case: Case) -> None:
    if run.rank == 0:
        priced = design.predict(sheet, terms)
        run.extra |= kept(sheet, report.record(priced, pricing.chosen_nodes(sheet, priced)))
    run.show()
    found = compare(run, case, sheet)
    if found is not None:
        run.extra["design_run"] = found
        run.measurements.append(_measurement(found["patterns"], run.size, int(found["bytes"]), found["rows"][-1]))


def _measurement(patterns: list[str], ranks: int, size: int, total: dict[str, Any]) -> dict[str, Any]:
    return {"pattern": "+".join(patterns), "ranks": ranks, "bytes": size, "seconds": {"median": total["measured"]},
            "predicted": total["predicted"]}  # fmt: skip


def _body(run: Run, sheet: Sheet, terms: dict[str, Any] | None, made: Skeleton) -> None:
    from demos._lib.skeleton import seconds

    if run.rank == 0:
        priced = design.predict(sheet, terms)
        predicted = made.predicted(run.seed)
        run.extra |= kept(sheet, report.record(priced, pricing.chosen_nodes(sheet, priced)))
        run.extra["design_run"] = {
            "p": made.p, "ranks": made.ranks, "spread": made.spread, "notes": list(made.notes), "rows": [],
            "patterns": [one.flow.pattern for one in made.exchanges], "formula": dict(made.formula),
        }  # fmt: skip
    run.show()
    measured, varying, priced_on = dict.fromkeys(TERMS, 0.0), 0.0, steady(run.network)
    comm = (
        None
        if priced_on is None
        else emulator.emulate(run.control, priced_on, pace=run.pace, compute="none", seed=run.seed)
    )
    for number, one in enumerate(made.exchanges):

        def timed(each: Any, spread: float, seed: int = run.seed + number, on: Any = comm) -> float:
            return seconds(run, each, each.draws(spread, made.count(each) if spread else 8, seed), on)

        for term, value in by_term(timed, one, made.spread).items():
            measured[term] += value
        if comm is not None:
            spread = made.spread if one.compute else 0.0
            varying += (timed(one, spread, on=None) - timed(one, spread)) / one.between
    if run.rank == 0:
        measured["total"] = sum(measured.values())
        run.extra["design_run"]["varying"] = varying if comm is not None else None
        _keep(run, made, measured, predicted)


def _keep(run: Run, made: Skeleton, measured: dict[str, float], predicted: dict[str, float]) -> None:
    for term in (*TERMS, "total"):
        seen, said = (float(each[term]) if abs(each[term]) > 1e-9 * measured["total"] else 0.0
                      for each in (measured, predicted))  # fmt: skip
        run.extra["design_run"]["rows"].append({"term": term, "measured": seen, "predicted": said,
                                                "share": seen / measured["total"]})  # fmt: skip
    patterns, total = [one.flow.pattern for one in made.exchanges], run.extra["design_run"]["rows"][-1]
    run.measurements.append(_measurement(patterns, made.ranks, sum(one.up for one in made.exchanges), total))
    if wrong := off(measured, predicted):
        texts = [f"{term} measured {measured[term]:.4g} s, predicted {predicted[term]:.4g} s" for term in wrong]
        run.fail("more than 15 % off: " + "; ".join(texts))
