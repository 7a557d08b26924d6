"""Federated training as a case study: hospitals learn one model together, and no patient's row leaves its hospital.

    mpirun -n 8 python -m demos.cases.federated --net wan
    python -m faults run -n 8 --recovery continue -m demos.cases.federated --kill

Every rank is a hospital with rows of its own of scikit-learn's breast-cancer table, unequal in number and kind. The
members elect one of them to average for some rounds, then the next one; a hospital that is away declines, and comes
back. One lies. Beside it: averaging by gossip without any server, the model of all rows in one place, and the models of
single hospitals. With ``--kill`` the elected server is killed for real in the middle of a round.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import click
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import emulator
from demos._lib import case, hospitals, screen
from demos._lib.timing import begin_together, declared
from emulator.design.sheet import Sheet
from emulator.run.options import demo
from emulator.run.session import Run
from primitives.collectives import all_reduce
from primitives.federated import participate, robust, serving, weighted_mean
from primitives.federated.averaging import Aggregate
from primitives.gossip import graphs, mix
from primitives.gossip.mixing import Mixing, metropolis
from primitives.peers import OnFailure, Peers

Array = NDArray[np.float64]
RANKS = 4  # a server and three clients: with fewer no rule bears a liar
TERMS, ROUNDS = 4, 5  # elections, and rounds that a server leads
LOCAL, RATE = 64, 0.5  # local steps of a round, and their rate
STEP_S = 1e-3  # declared computing of a local step
LIAR, LIE = 1, 10.0  # a hospital that sends the opposite of what it has learned, so many times as far
TOLERANCE = 1e-9  # of a weight against the one-process run: sums over hospitals are added in another order
_TAG = 671


@dataclass
class Plan:
    """How the members train.

    Attributes
    ----------
    rule
        Aggregation: ``"mean"`` weighted by rows, or one of `robust.RULES`, which bears the liar.
    local, terms, rounds
        Local steps of a round; elections, and rounds that an elected server leads.
    away
        The rounds that a hospital misses, by rank.
    """

    rule: str = "mean"
    local: int = LOCAL
    terms: int = TERMS
    rounds: int = ROUNDS
    liar: int | None = None
    away: dict[int, range] = field(default_factory=dict)
    die_in: int | None = None  # the round in which the server kills itself

    def aggregate(self) -> Aggregate:
        """How the server joins the models."""
        if self.rule == "mean":
            return weighted_mean
        rule, liars = robust.rule(self.rule), int(self.liar is not None)
        return lambda models, examples: rule(models, liars)

    def answer(self, rank: int, own: hospitals.Rows, model: Array, number: int) -> tuple[Array, float] | None:
        """A hospital's answer in a round; None while it is away."""
        if number in self.away.get(rank, ()):
            return None
        learned = hospitals.train(model, own, self.local, RATE)
        return (model - LIE * (learned - model) if rank == self.liar else learned), float(len(own.labels))

    def bid(self, rank: int, served: int, number: int) -> float:
        """What a hospital offers in the election before a round: the one that has served least, if it is there."""
        return -np.inf if number in self.away.get(rank, ()) else float(-served)


@dataclass
class Member:
    """A hospital among the others; `lost` is what is done about a dead one, whose absence is an error without it."""

    comm: Any
    own: hospitals.Rows
    plan: Plan
    step_s: float = 0.0
    lost: OnFailure | None = None
    model: Array = field(default_factory=lambda: np.zeros(hospitals.FEATURES))
    gone: set[int] = field(default_factory=set)
    servers: list[int] = field(default_factory=list)
    curve: list[Array] = field(default_factory=list)  # the model after each round that this member led

    @property
    def rank(self) -> int:
        return int(self.comm.Get_rank())

    def _peers(self, first: int | None = None) -> Peers:
        """The living, the server at position 0 once there is one."""
        living = [rank for rank in range(self.comm.Get_size()) if rank not in self.gone and rank != first]
        return Peers(self.comm, living if first is None else [first, *living], self._lose if self.lost else None)

    def _lose(self, rank: int, error: MPI.Exception) -> None:
        assert self.lost is not None
        self.lost(rank, error)
        self.gone.add(rank)

    def elect(self, number: int) -> int:
        """Everybody tells everybody its bid; the highest bid wins, of equal ones that of the highest rank."""
        peers = self._peers()
        bid = np.array([self.plan.bid(self.rank, self.servers.count(self.rank), number)])
        others = {position: np.empty(1) for position in range(peers.size) if position != peers.rank}
        arrived = peers.exchange([(position, bid) for position in others], list(others.items()), _TAG)
        bids = {peers.members[position]: float(others[position][0]) for position in arrived} | {self.rank: bid[0]}
        return max(bids, key=lambda rank: (bids[rank], rank))

    def term(self, first: int) -> None:
        """Elect a server, and train for it or lead; everybody has the model in the end, the last known if it died."""
        server = self.elect(first)
        self.servers.append(server)
        peers = self._peers(server)
        if self.rank == server:
            with serving(peers, self.model, aggregate=self._aggregate(first)) as leader:
                for _ in range(self.plan.rounds):
                    leader.round()
                    self.curve.append(leader.model)
                self.model = leader.model
            peers.exchange([(position, self.model) for position in range(1, peers.size)], [], _TAG)
            return
        participate(peers, partial(self._train, first))
        final = np.empty_like(self.model)
        if peers.alive(0) and peers.exchange([], [(0, final)], _TAG):
            self.model = final

    def _train(self, first: int, model: Array, number: int) -> tuple[Array, float] | None:
        self.model = model  # the last that is known if the server dies
        answer = self.plan.answer(self.rank, self.own, model, first + number)
        if answer is not None:
            emulator.compute(self.comm, self.step_s * self.plan.local)
        return answer

    def _aggregate(self, first: int) -> Aggregate:
        joined, left = self.plan.aggregate(), iter(range(first, first + self.plan.rounds))

        def aggregate(models: Array, examples: Array) -> Array:
            if next(left) == self.plan.die_in:
                os.kill(os.getpid(), signal.SIGKILL)
            return joined(models, examples)

        return aggregate


def admit(comm: Any, own: hospitals.Rows) -> hospitals.Rows:
    """Standardise the columns over all hospitals: their sums are added up, no row is sent."""
    total = np.empty_like(own.moments())
    all_reduce(comm, own.moments(), total)
    return own.standardised(total)


def by_server(comm: Any, own: hospitals.Rows, plan: Plan, step_s: float = 0.0) -> Member:
    """Train under elected servers; collective."""
    member = Member(comm, own, plan, step_s)
    for term in range(plan.terms):
        member.term(term * plan.rounds)
    return member


def mixing_of(size: int) -> Mixing:
    """The graph of the gossip: every hospital talks to two others."""
    return metropolis(graphs.ring(size))


def by_gossip(comm: Any, own: hospitals.Rows, plan: Plan, step_s: float = 0.0) -> Array:
    """Train and average with neighbours, with no server; the models differ a little. Collective."""
    mixing, model, rank = mixing_of(comm.Get_size()), np.zeros(hospitals.FEATURES), comm.Get_rank()
    for number in range(plan.terms * plan.rounds):
        answer = plan.answer(rank, own, model, number)
        if answer is not None:
            emulator.compute(comm, step_s * plan.local)
            model = answer[0]
        mix(comm, model, mixing)
    return model


def one_process(parts: list[hospitals.Rows], plan: Plan) -> tuple[Array, list[Array]]:
    """Both trainings without messages: the servers' model, and every hospital's by gossip."""
    model, served, aggregate = np.zeros(hospitals.FEATURES), [0] * len(parts), plan.aggregate()
    server = -1
    for number in range(plan.terms * plan.rounds):
        if number % plan.rounds == 0:
            server = max(range(len(parts)), key=lambda rank: (plan.bid(rank, served[rank], number), rank))
            served[server] += 1
        given = [plan.answer(rank, own, model, number) for rank, own in enumerate(parts) if rank != server]
        answers = [one for one in given if one is not None]
        model = aggregate(np.array([one for one, _ in answers]), np.array([weight for _, weight in answers]))
    each, matrix = np.zeros((len(parts), hospitals.FEATURES)), mixing_of(len(parts)).matrix()
    for number in range(plan.terms * plan.rounds):
        for rank, own in enumerate(parts):
            answer = plan.answer(rank, own, each[rank], number)
            each[rank] = each[rank] if answer is None else answer[0]
        each = matrix @ each
    return model, list(each)


def scaled(sheet: Sheet, ranks: int) -> Sheet:
    """The design with a server, a hospital on each other rank, and this case's model; a local step takes 1 ms."""
    return case.cut(sheet, ranks - 1, {"t_comp": STEP_S * (ranks - 1)}, model={"bytes": 8 * hospitals.FEATURES})


def data(control: MPI.Intracomm, sheet: Sheet) -> hospitals.Rows:
    """This rank's rows."""
    return own_rows(control, 0)


def own_rows(control: MPI.Intracomm, seed: int) -> hospitals.Rows:
    """Read this hospital's rows, and standardise their columns."""
    own = hospitals.rows(hospitals.split(control.Get_size(), seed)[control.Get_rank()])
    return admit(control, own)


def timed(comm: MPI.Intracomm, sheet: Sheet, data: hospitals.Rows, steps: case.Steps) -> case.Ends:
    """Rounds of the training, with as many local steps as the sheet has; a round's time is divided by their number."""
    assert sheet.consistency is not None
    local, clients = sheet.consistency.rounds, comm.Get_size() - 1
    factors = steps.factors(local * clients).reshape(steps.count, local, clients).sum(axis=1)
    seconds = sheet.job.t_comp / clients * factors
    plan, ends = Plan(rule=sheet.communication[0].rule or "mean", local=local, liar=LIAR), []

    def train(model: Array, number: int) -> tuple[Array, float]:
        emulator.compute(comm, float(seconds[number, comm.Get_rank() - 1]))
        return plan.answer(comm.Get_rank(), data, model, number) or (model, 1.0)

    if comm.Get_rank():
        participate(comm, train)
        return []
    with serving(comm, np.zeros(hospitals.FEATURES), aggregate=plan.aggregate()) as server:
        for _ in range(steps.count):
            server.round()
            ends.append(emulator.now(comm) / local)
    return ends


@demo("cases.federated", needs=RANKS)
@click.option("--kill", is_flag=True, help="Kill the server for real; needs a job that survives it: python -m faults run.")
def main(run: Run, kill: bool) -> None:
    """Train one model in hospitals that keep their rows: servers by election, gossip, drop-outs, a liar."""
    if kill:
        _survive(run)
    own = admit(run.comm, hospitals.rows(hospitals.split(run.size, run.seed)[run.rank]))
    parts = run.control.gather(own)  # for the comparison, on the control communicator; the training has `own` only
    _answer(run, own, parts)
    _rates(run, own)
    screen.terms(run, case.compare(run, sys.modules[__name__], case.sheet_beside(__file__)))


def _accuracy(run: Run, model: Array, own: hospitals.Rows) -> float:
    """Of one model on what all hospitals have held out: each tests its own rows and gives two numbers."""
    good, count = np.array(run.control.allgather(hospitals.right(model, own))).sum(axis=0)
    return float(good / count)


def absences(size: int) -> dict[int, range]:
    """Two hospitals that are away for a while, one of them when it would be elected."""
    return {2: range(3, 8), size - 2: range(4, 12)}


def _counted(run: Run, train: Callable[[], Any]) -> tuple[Any, float, float | None]:
    """Train; its result, its seconds, and the bytes of all ranks where the network counts them."""
    begin = run.control.bcast(begin_together(run))
    before = run.comm.traffic().bytes if run.network else 0
    found = train()
    run.control.Barrier()
    took = run.control.allreduce(run.now(), MPI.MAX) - begin
    return found, took, float(run.comm.traffic().bytes - before) if run.network else None


def _answer(run: Run, own: hospitals.Rows, parts: list[hospitals.Rows] | None) -> None:
    """Accuracy by server and by gossip, beside the pooled model and the hospitals alone; held to one process."""
    plan, step_s = Plan(away=absences(run.size)), declared(run, STEP_S)
    member, took, sent = _counted(run, lambda: by_server(run.comm, own, plan, step_s))
    gossiped, took_gossip, sent_gossip = _counted(run, lambda: by_gossip(run.comm, own, plan, step_s))
    led = run.control.allgather(member.curve)
    curve = sum((led[server] for server in member.servers), [])
    alone = run.control.allgather(hospitals.train(np.zeros(hospitals.FEATURES), own, TERMS * ROUNDS * LOCAL, RATE))
    lone = [_accuracy(run, model, own) for model in alone]
    of_gossip = np.mean([_accuracy(run, model, own) for model in run.control.allgather(gossiped)])
    course = [_accuracy(run, curve[number - 1], own) for number in (1, 2, 5, len(curve))]
    off = off_gossip = 0.0
    together = np.zeros(hospitals.FEATURES)
    if parts is not None:
        expected, each = one_process(parts, plan)
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
    missed = ", ".join(f"{rank} in rounds {one.start} to {one.stop - 1}" for rank, one in plan.away.items())
    screen.table(run, "accuracy on the rows that all hospitals held out",
                 {"who learned": "name", "rounds": "count", "accuracy": "figures", "bytes": "bytes", "time": "time"},
                 rows, [f"away: hospital {missed}", "after rounds 1, 2, 5: "
                        + ", ".join(f"{100 * one:.1f} %" for one in course[:3])])  # fmt: skip
    worst = max(off, off_gossip)
    screen.verdict(run, worst <= TOLERANCE, f"both models differ from one process by at most {worst:.1e} "
                                            f"(allowed {TOLERANCE:g})")  # fmt: skip
    if run.rank == 0:
        run.extra["answer"] = {"pooled": pooled, "server": course[-1], "gossip": float(of_gossip), "alone": lone,
                               "servers": member.servers, "off": worst}  # fmt: skip


def _rates(run: Run, own: hospitals.Rows) -> None:
    """A liar under each rule, and rarer rounds."""
    rows = []
    for rule in ("mean", "median", "trimmed-mean"):
        honest = by_server(run.comm, own, Plan(rule))
        lied = by_server(run.comm, own, Plan(rule, liar=LIAR))
        rows.append([rule, _accuracy(run, honest.model, own), _accuracy(run, lied.model, own)])
    screen.table(run, f"hospital {LIAR} sends {LIE:g} times the opposite of what it learned",
                 {"rule": "name", "all honest": "figures", "one lies": "figures"}, rows)  # fmt: skip
    seldom = []
    for local in (4, 64, 320):
        plan = Plan("median", local, terms=1, rounds=TERMS * ROUNDS * LOCAL // local // 4, liar=LIAR)
        member, took, sent = _counted(run, partial(by_server, run.comm, own, plan, declared(run, STEP_S)))
        seldom.append([local, plan.rounds, _accuracy(run, member.model, own), sent, took])
    screen.table(run, "rarer rounds: 320 local steps in all, median, one lies",
                 {"local steps": "count", "rounds": "count", "accuracy": "figures", "bytes": "bytes", "time": "time"},
                 seldom)  # fmt: skip
    if run.rank == 0:
        run.extra |= {"liars": rows, "seldom": seldom}


def _survive(run: Run) -> None:
    """The elected server dies in the middle of its second round; the others elect another and go on."""
    import faults

    with faults.routing(MPI.COMM_WORLD) as route:
        own = admit(route.comm, hospitals.rows(hospitals.split(run.size, run.seed)[run.rank]))
        member = Member(route.comm, own, Plan(die_in=1), lost=route.lost)
        for term in route.steps(TERMS):
            member.term(term * ROUNDS)
        others = [rank for rank in route.living if rank]
        tested = hospitals.right(member.model, own)
        if run.rank:
            route.comm.send((tested, member.model), 0)
        else:
            given = [route.comm.recv(source=rank) for rank in others]
            good, count = np.array([tested, *(one for one, _ in given)]).sum(axis=0)
            same = all((model == member.model).all() for _, model in given)
            screen.verdict(run, len(member.servers) == TERMS and bool(same), f"server {member.servers[0]} was killed "
                           f"in round 1, then {', '.join(map(str, member.servers[1:]))} led; all survivors hold the "
                           f"same model, right on {100 * good / count:.1f} % of what they held out")  # fmt: skip
    if run.rank == 0:
        run.save()
        run.show(ended=True)
        run.echo(f"result: {run.folder}")
    raise SystemExit(1 if run.failures else 0)  # the job's own collectives miss a rank


if __name__ == "__main__":
    main()
