"""Federated training as a case study: hospitals train one model together, and no patient's row leaves its hospital.

    mpirun -n 8 python -m demos.cases.federated --net wan
    python -m demos.design drill demos/cases/federated.toml -n 8

Every rank is a hospital with rows of its own of scikit-learn's breast-cancer table, unequal in number and kind. The
members elect one of them to average for some rounds, then the next one; a hospital that is away declines, and comes
back. One lies. Beside it: averaging by gossip without any server, the model of all rows in one place, and the models of
single hospitals. In the drill the elected server is killed for real in the middle of its term.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import emulator
from demos._lib.cases import case, hospitals, output, terms
from demos._lib.cases.hospital_rounds import (
    LIE,
    LOCAL,
    RATE,
    Member,
    Settings,
    admit,
    by_gossip,
    by_server,
    one_process,
)
from demos._lib.timing import begin_together, declared
from emulator.design.sheets.sheet import Sheet
from emulator.run.demo_run import Run
from emulator.run.options import demo
from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns.catalogue import Pattern
from faults.recover.exclusion import routing
from primitives.federated.averaging import participate, serving, weighted_mean

Array = NDArray[np.float64]
RANKS, WHY = 4, "a server and three clients: with fewer no rule tolerates a liar"
TERMS, ROUNDS = 4, 5  # elections, and rounds that a server leads
STEP_S = 1e-3  # declared computing of a local step
LIAR = 1  # the hospital that lies
TOLERANCE = 1e-9  # of a weight against the one-process run: sums over hospitals are added in another order


def scaled(sheet: Sheet, ranks: int) -> Sheet:
    """The design with a server, a hospital on each other rank, and this case's model; a local step takes 1 ms."""
    return case.cut(sheet, ranks - 1, {"t_comp": STEP_S * (ranks - 1)}, model={"bytes": 8 * hospitals.FEATURES})


def data(control: MPI.Intracomm, sheet: Sheet) -> hospitals.Rows:
    """This rank's rows."""
    return own_rows(control, 0)


def own_rows(control: MPI.Intracomm, seed: int) -> hospitals.Rows:
    """Read this hospital's rows and standardise their columns."""
    own = hospitals.rows(hospitals.split(control.Get_size(), seed)[control.Get_rank()])
    return own.standardised(control.allreduce(own.moments()))


def timed(comm: MPI.Intracomm, sheet: Sheet, data: hospitals.Rows, steps: case.Steps) -> case.Ends:
    """Run rounds of the training with the sheet's number of local steps, by which a round's time is divided."""
    assert sheet.consistency is not None
    local, clients = sheet.consistency.rounds, comm.Get_size() - 1
    factors = steps.factors(local * clients).reshape(steps.count, local, clients).sum(axis=1)
    seconds = sheet.job.t_comp / clients * factors
    settings, ends = Settings(rule=sheet.communication[0].rule or "mean", local=local, liar=LIAR), []

    def train(model: Array, number: int) -> tuple[Array, float]:
        emulator.compute(comm, float(seconds[number, comm.Get_rank() - 1]))
        return settings.answer(comm.Get_rank(), data, model, number) or (model, 1.0)

    if comm.Get_rank():
        participate(comm, train)
        return []
    with serving(comm, np.zeros(hospitals.FEATURES), aggregate=settings.aggregate()) as server:
        for _ in range(steps.count):
            server.round()
            ends.append(emulator.now(comm) / local)
    return ends


@demo("cases.federated", needs=RANKS, why=WHY)
def main(run: Run) -> None:
    """Train one model in hospitals that keep their rows: servers by election, gossip, drop-outs, a liar."""
    own = admit(run.comm, hospitals.rows(hospitals.split(run.size, run.seed)[run.rank]))
    parts = run.control.gather(own)  # for the comparison, on the control communicator; the training has `own` only
    _answer(run, own, parts)
    _rates(run, own)
    output.terms(run, terms.compare(run, sys.modules[__name__], case.sheet_beside(__file__, run)))


def _accuracy(run: Run, model: Array, own: hospitals.Rows) -> float:
    """Accuracy of one model on the held-out rows of all hospitals: each tests its own rows and sends two numbers."""
    good, count = np.array(run.control.allgather(hospitals.right(model, own))).sum(axis=0)
    return float(good / count)


def absences(size: int) -> dict[int, range]:
    """Two hospitals that are absent for a while, one of them when it would be elected."""
    return {2: range(3, 8), size - 2: range(4, 12)}


def _counted(run: Run, train: Callable[[], Any]) -> tuple[Any, float, int | None]:
    """Train; returns the result, the seconds, and the bytes of all ranks if the network counts them."""
    comm: Any = run.comm
    begin = run.control.bcast(begin_together(run))
    before = comm.traffic().bytes if run.network else 0
    found = train()
    run.control.Barrier()
    took = run.control.allreduce(run.now(), MPI.MAX) - begin
    return found, took, int(comm.traffic().bytes - before) if run.network else None


def _answer(run: Run, own: hospitals.Rows, parts: list[hospitals.Rows] | None) -> None:
    """Compare accuracy by server and by gossip with the pooled model and single hospitals, and with one process."""
    settings, step_s = Settings(away=absences(run.size)), declared(run, STEP_S)
    member, took, sent = _counted(run, lambda: by_server(run.comm, own, settings, step_s))
    gossiped, took_gossip, sent_gossip = _counted(run, lambda: by_gossip(run.comm, own, settings, step_s))
    led = run.control.allgather(member.curve)
    curve = [model for server in member.servers for model in led[server]]
    alone = run.control.allgather(hospitals.train(np.zeros(hospitals.FEATURES), own, TERMS * ROUNDS * LOCAL, RATE))
    lone = [_accuracy(run, model, own) for model in alone]
    of_gossip = np.mean([_accuracy(run, model, own) for model in run.control.allgather(gossiped)])
    course = [_accuracy(run, curve[number - 1], own) for number in (1, 2, 5, len(curve))]
    off = off_gossip = 0.0
    together = np.zeros(hospitals.FEATURES)
    if parts is not None:
        expected, each = one_process(parts, settings)
        off = float(np.abs(member.model - expected).max())
        off_gossip = float(np.abs(gossiped - each[0]).max())
        together = hospitals.train(together, hospitals.pooled(parts), TERMS * ROUNDS * LOCAL, RATE)
    pooled = _accuracy(run, run.control.bcast(together), own)
    n = TERMS * ROUNDS
    rows = [["all rows in one place (not allowed)", 0, pooled, None, None],
            [f"by elected servers, ranks {', '.join(map(str, member.servers))}", n, course[-1], sent, took],
            ["by gossip on a ring", n, float(of_gossip), sent_gossip, took_gossip],
            ["a hospital alone, the best", 0, max(lone), None, None],
            ["a hospital alone, the worst", 0, min(lone), None, None]]  # fmt: skip
    missed = ", ".join(f"{rank} in rounds {one.start} to {one.stop - 1}" for rank, one in settings.away.items())
    output.table(run, "accuracy on the rows that all hospitals held out",
                 {"who learned": "name", "rounds": "count", "accuracy": "figures", "bytes": "bytes", "time": "time"},
                 rows, [f"away: hospital {missed}", "after rounds 1, 2, 5: "
                        + ", ".join(f"{100 * one:.1f} %" for one in course[:3])])  # fmt: skip
    worst = max(off, off_gossip)
    output.verdict(run, worst <= TOLERANCE, f"both models differ from one process by at most {worst:.1e} "
                                            f"(allowed {TOLERANCE:g})")  # fmt: skip
    if run.rank == 0:
        run.extra["answer"] = {"pooled": pooled, "server": course[-1], "gossip": float(of_gossip), "alone": lone,
                               "servers": member.servers, "off": worst}  # fmt: skip


def _rates(run: Run, own: hospitals.Rows) -> None:
    """Train with a liar under each rule, and with rarer rounds."""
    rows = []
    for rule in ("mean", "median", "trimmed-mean"):
        honest = by_server(run.comm, own, Settings(rule))
        lied = by_server(run.comm, own, Settings(rule, liar=LIAR))
        rows.append([rule, _accuracy(run, honest.model, own), _accuracy(run, lied.model, own)])
    output.table(run, f"hospital {LIAR} sends {LIE:g} times the opposite of what it learned",
                 {"rule": "name", "all honest": "figures", "one lies": "figures"}, rows)  # fmt: skip
    seldom = []
    for local in (4, 64, 320):
        settings = Settings("median", local, terms=1, rounds=TERMS * ROUNDS * LOCAL // local // 4, liar=LIAR)
        member, took, sent = _counted(run, partial(by_server, run.comm, own, settings, declared(run, STEP_S)))
        seldom.append([local, settings.rounds, _accuracy(run, member.model, own), sent, took])
    output.table(run, "rarer rounds: 320 local steps in all, median, one lies",
                 {"local steps": "count", "rounds": "count", "accuracy": "figures", "bytes": "bytes", "time": "time"},
                 seldom)  # fmt: skip
    if run.rank == 0:
        run.extra |= {"liars": rows, "seldom": seldom}


# -- the drill: the elected server is killed, or another member ------------------------------------------


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Run one hospital of a training in which members die; the living elect a new server when theirs is dead."""
    with routing(job_comm(spec, tools), tools) as route:
        own = admit(route.comm, hospitals.rows(hospitals.split(spec.ranks, spec.seed)[route.rank]))
        steps = route.steps(spec.steps)
        member = Member(route.comm, own, Settings(terms=2, rounds=spec.steps // 2), lost=route.lost,
                        at_round=lambda: next(steps, None))  # fmt: skip
        for term in range(member.settings.terms):
            member.gone |= route.look()
            member.term(term * member.settings.rounds)
        for _ in steps:  # of a term that ended with its server
            pass
    return {"place": route.rank, "servers": member.servers, "led": member.led, "known": member.known,
            "model": member.model.tolist()}  # fmt: skip


def _matches(spec: JobSpec, folder: Path, results: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Replay in one process who led and who answered; of a dead server's term, what its clients last received."""
    parts = [hospitals.rows(one) for one in hospitals.split(spec.ranks, spec.seed)]
    moments = np.sum([part.moments() for part in parts], axis=0)
    parts, settings, model = [part.standardised(moments) for part in parts], Settings(), np.zeros(hospitals.FEATURES)
    servers, of = results[0]["servers"], {one["place"]: one for one in results}
    for term, server in enumerate(servers):
        members = [rank for rank in range(spec.ranks) if rank != server]
        rounds = of[server]["led"] if server in of else [members] * max(one["known"][term] for one in results)
        for answered in rounds:
            given = [settings.answer(rank, parts[rank], model, 0) for rank in answered]
            model = weighted_mean(
                np.array([one[0] for one in given if one]), np.array([one[1] for one in given if one])
            )
    off = max(float(np.abs(np.array(one["model"]) - model).max()) for one in results)
    good, count = hospitals.right(model, hospitals.pooled(parts))
    text = (f"ranks {', '.join(map(str, servers))} led; every survivor's model differs from one process by at most "
            f"{off:.1e}, right on {100 * good / count:.1f} %")  # fmt: skip
    return off <= TOLERANCE, text


DRILL = Pattern(
    "hospitals", "federated training under elected servers", ("continue",), 40, _matches,
    "the rounds that took place, in one process", options={"program": "demos.cases.federated"},
    least_ranks=RANKS, fewest=2,
)  # fmt: skip


if __name__ == "__main__":
    main()
