"""Hospitals that train one model: each one's round, elections, averaging by a server and by gossip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import emulator
from demos._lib.cases import hospitals
from primitives.collectives import all_reduce
from primitives.federated import rules
from primitives.federated.averaging import participate, serving
from primitives.federated.rules import Aggregate
from primitives.gossip import graphs, mix
from primitives.gossip.mixing import Mixing, metropolis
from primitives.peers import OnFailure, Peers

Array = NDArray[np.float64]
LOCAL, RATE = 64, 0.5  # local steps of a round, and their rate
LIE = 10.0  # a liar sends the opposite of what it has learned, so many times as far
_TAG = 671


@dataclass
class Settings:
    """How the members train.

    Attributes
    ----------
    rule : aggregation: ``"mean"`` weighted by rows, or another one of `rules.RULES`, which tolerates the liar
    local, terms, rounds : local steps of a round; elections, and rounds that an elected server leads
    away : the rounds that a hospital misses, by rank
    """

    rule: str = "mean"
    local: int = LOCAL
    terms: int = 4
    rounds: int = 5
    liar: int | None = None
    away: dict[int, range] = field(default_factory=dict)

    def aggregate(self) -> Aggregate:
        """The function by which the server averages the models."""
        return rules.of(self.rule).tolerating(self.liars)

    @property
    def liars(self) -> int:
        """Number of liars that the rule must tolerate."""
        return int(self.liar is not None and rules.of(self.rule).tolerates)

    def answer(self, rank: int, own: hospitals.Rows, model: Array, number: int) -> tuple[Array, float] | None:
        """A hospital's answer in a round; None while it is absent."""
        if number in self.away.get(rank, ()):
            return None
        learned = hospitals.train(model, own, self.local, RATE)
        return (model - LIE * (learned - model) if rank == self.liar else learned), float(len(own.labels))

    def bid(self, rank: int, served: int, number: int) -> float:
        """A hospital's bid in the election before a round: highest for the one that has served least, if present."""
        return -np.inf if number in self.away.get(rank, ()) else float(-served)


@dataclass
class Member:
    """A hospital as a rank among the others.

    Attributes
    ----------
    lost : what is done about a dead member; without it a death is an error
    at_round : called as this member begins a round
    servers : who was elected in each term
    known : rounds of each term that the model is known after
    led : who answered in each round that this member led, and `curve` the model after it
    """

    comm: Any
    own: hospitals.Rows
    settings: Settings
    step_s: float = 0.0
    lost: OnFailure | None = None
    at_round: Callable[[], object] = lambda: None
    model: Array = field(default_factory=lambda: np.zeros(hospitals.FEATURES))
    gone: set[int] = field(default_factory=set)
    servers: list[int] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    led: list[list[int]] = field(default_factory=list)
    curve: list[Array] = field(default_factory=list)

    @property
    def rank(self) -> int:
        return int(self.comm.Get_rank())

    def _peers(self, first: int | None = None) -> Peers:
        """The living members, with the server at position 0 once there is one."""
        living = [rank for rank in range(self.comm.Get_size()) if rank not in self.gone and rank != first]
        return Peers(self.comm, living if first is None else [first, *living], self._lose if self.lost else None)

    def _lose(self, rank: int, error: MPI.Exception) -> None:
        assert self.lost is not None
        self.lost(rank, error)
        self.gone.add(rank)

    def elect(self, number: int) -> int:
        """Every member sends its bid to all others; the highest bid wins, of equal bids that of the highest rank."""
        peers = self._peers()
        bid = np.array([self.settings.bid(self.rank, self.servers.count(self.rank), number)])
        others = {position: np.empty(1) for position in range(peers.size) if position != peers.rank}
        arrived = peers.exchange([(position, bid) for position in others], list(others.items()), _TAG)
        bids = {peers.members[position]: float(others[position][0]) for position in arrived} | {self.rank: bid[0]}
        return max(bids, key=lambda rank: (bids[rank], rank))

    def term(self, first: int) -> None:
        """Elect a server, then train for it or serve; all have the model in the end, the last known one if it died."""
        server = self.elect(first)
        self.servers.append(server)
        self.known.append(0)
        peers = self._peers(server)
        if self.rank == server:
            self._lead(peers)
            return
        participate(peers, partial(self._train, first))
        final = np.empty_like(self.model)
        if peers.alive(0) and peers.exchange([], [(0, final)], _TAG):
            self.model, self.known[-1] = final, self.settings.rounds

    def _lead(self, peers: Peers) -> None:
        with serving(peers, self.model, aggregate=self.settings.aggregate()) as leader:
            for _ in range(self.settings.rounds):
                self.at_round()
                answered = leader.round().answered
                self.led.append([peers.members[position] for position in answered])
                self.curve.append(leader.model)
        self.model, self.known[-1] = leader.model, self.settings.rounds
        peers.exchange([(position, self.model) for position in range(1, peers.size)], [], _TAG)

    def _train(self, first: int, model: Array, number: int) -> tuple[Array, float] | None:
        self.model, self.known[-1] = model, number  # the last that is known if the server dies
        self.at_round()
        answer = self.settings.answer(self.rank, self.own, model, first + number)
        if answer is not None:
            emulator.compute(self.comm, self.step_s * self.settings.local)
        return answer


def admit(comm: Any, own: hospitals.Rows) -> hospitals.Rows:
    """Standardise the columns over all hospitals by adding up sums; no row is sent."""
    total = np.empty_like(own.moments())
    all_reduce(comm, own.moments(), total)
    return own.standardised(total)


def by_server(comm: Any, own: hospitals.Rows, settings: Settings, step_s: float = 0.0) -> Member:
    """Train under elected servers; collective."""
    member = Member(comm, own, settings, step_s)
    for term in range(settings.terms):
        member.term(term * settings.rounds)
    return member


def mixing_of(size: int) -> Mixing:
    """The gossip graph: every hospital exchanges with two others."""
    return metropolis(graphs.ring(size))


def by_gossip(comm: Any, own: hospitals.Rows, settings: Settings, step_s: float = 0.0) -> Array:
    """Train and average with neighbours, without a server; the models differ slightly. Collective."""
    mixing, model, rank = mixing_of(comm.Get_size()), np.zeros(hospitals.FEATURES), comm.Get_rank()
    for number in range(settings.terms * settings.rounds):
        answer = settings.answer(rank, own, model, number)
        if answer is not None:
            emulator.compute(comm, step_s * settings.local)
            model = answer[0]
        mix(comm, model, mixing)
    return model


def one_process(parts: list[hospitals.Rows], settings: Settings) -> tuple[Array, list[Array]]:
    """Do both trainings without messages: returns the servers' model, and every hospital's by gossip."""
    model, served, aggregate = np.zeros(hospitals.FEATURES), [0] * len(parts), settings.aggregate()
    server = -1
    for number in range(settings.terms * settings.rounds):
        if number % settings.rounds == 0:
            server = max(range(len(parts)), key=lambda rank: (settings.bid(rank, served[rank], number), rank))
            served[server] += 1
        given = [settings.answer(rank, own, model, number) for rank, own in enumerate(parts) if rank != server]
        answers = [one for one in given if one is not None]
        if answers and rules.of(settings.rule).most_liars(len(answers)) >= settings.liars:
            model = aggregate(np.array([one for one, _ in answers]), np.array([weight for _, weight in answers]))
    each, matrix = np.zeros((len(parts), hospitals.FEATURES)), mixing_of(len(parts)).matrix()
    for number in range(settings.terms * settings.rounds):
        for rank, own in enumerate(parts):
            answer = settings.answer(rank, own, each[rank], number)
            each[rank] = each[rank] if answer is None else answer[0]
        each = matrix @ each
    return model, list(each)
