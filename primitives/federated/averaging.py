"""Federated averaging: clients train on their own data and send models to a server that averages them.

    server (position 0)                      clients
      draw a subset of the clients
      model  --------------------------->    a few local steps on their own data
      wait for all, or for the deadline
      <---------------------------  model, number of examples     (or "not this time", or nothing at all)
      model <- sum_k n_k model_k / sum_k n_k   over those who answered in time

One round with m clients moves 2 m n bytes, all through the server's port. On an idle network it takes 2 alpha + (m + 1)
n beta + the slowest client's training: the models leave back to back, and the answers come back to back, each one
model behind the last (the port is full duplex). `costs.PATTERNS["federated"]` is this formula.

Drop-outs: a client may decline a round, answer too late (its answer is recognised by its round number
and dropped), fail for good, or die. A round with fewer than `least` answers, or with so many
drop-outs that a robust rule cannot tolerate its liars, leaves the model as it was.

Source: McMahan, Moore, Ramage, Hampson and Aguera y Arcas, "Communication-efficient learning of deep networks from
decentralized data" (AISTATS 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator import now
from emulator.errors import UsageError
from primitives.federated.rules import Aggregate, Vector, weighted_mean
from primitives.mailbox import Mailbox
from primitives.peers import Peers

Train = Callable[[Vector, int], tuple[Vector, float] | None]
"""(model, round) -> (trained model, number of examples), or None to sit this round out."""

SERVER = 0
HEADER = 2
_TAG_DOWN, _TAG_UP = 651, 652
_STOP, _TRAIN = 0.0, 1.0
_ABSENT, _FAILED, _BYE = 0.0, -1.0, -2.0  # in place of a number of examples


@dataclass
class Round:
    """Record of one round.

    Attributes
    ----------
    number : from 0
    asked, answered, declined, late : positions of the clients that were drawn, that took part, that declined or failed,
        and that the deadline or death cut off
    broken : clients whose model held NaN or infinity
    void : why the answers were too few to update the model; empty if they were not
    seconds : on the communicator's clock
    bytes : through the server's port, both ways
    """

    number: int
    asked: list[int]
    answered: list[int] = field(default_factory=list)
    declined: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    void: str = ""
    seconds: float = 0.0
    bytes: int = 0


def draw_clients(clients: list[int], count: int, seed: int, number: int) -> list[int]:
    """Draw `count` of the clients for one round (fewer if there are not so many), ascending."""
    rng = np.random.default_rng((seed, number))
    return sorted(int(c) for c in rng.choice(clients, min(count, len(clients)), replace=False)) if clients else []


class Server:
    """The server's side of federated averaging; it has position 0 in the table of peers.

    Parameters
    ----------
    comm : communicator or table of peers; all positions but 0 run `participate`
    model : float64 vector to begin with
    per_round : clients to ask in each round; absent: all
    aggregate : `weighted_mean`, or a robust rule: ``rules.of("median").tolerating(liars=1)``
    deadline_s : seconds on `emulator.now` after which a round ends without those who have not answered; None waits for
        all
    least : fewest answers that make a round count

    Raises
    ------
    UsageError
        There is no client, or `per_round` or `least` is out of range.
    """

    def __init__(
        self,
        comm: MPI.Intracomm | Peers,
        model: Vector,
        *,
        per_round: int | None = None,
        aggregate: Aggregate = weighted_mean,
        deadline_s: float | None = None,
        least: int = 1,
        seed: int = 0,
    ) -> None:
        self.peers = Peers.of(comm)
        self.model = np.array(model, np.float64)
        self.clients = [position for position in range(self.peers.size) if position != SERVER]
        if not self.clients:
            raise UsageError("federated averaging needs a server and at least one client, got 1 rank: start more")
        self.per_round = len(self.clients) if per_round is None else per_round
        if not 1 <= self.per_round <= len(self.clients):
            raise UsageError(f"clients per round lie between 1 and {len(self.clients)}, got {per_round}")
        if not 1 <= least <= self.per_round:
            raise UsageError(f"the fewest answers of a round lie between 1 and {self.per_round}, got {least}")
        self.aggregate, self.deadline_s, self.least = aggregate, deadline_s, least
        self.seed = seed
        self.number = 0
        self._down = Mailbox(self.peers, [], tag=_TAG_DOWN, most=len(self.clients))  # to test all at each is quadratic
        self._up = Mailbox(self.peers, self.clients, tag=_TAG_UP, ordered=True)

    def round(self) -> Round:
        """Do one round and update `self.model`."""
        begin = now(self.peers.comm)
        deadline = None if self.deadline_s is None else begin + self.deadline_s
        self.peers.carrier.phase("broadcast", step=self.number)
        self.clients = [c for c in self.clients if self.peers.alive(c)]
        record = Round(self.number, draw_clients(self.clients, self.per_round, self.seed, self.number))
        order = np.concatenate([[self.number, _TRAIN], self.model])
        waiting = [c for c in record.asked if self._down.send(c, order)]
        answers = self._collect(record, waiting, deadline)
        record.answered = sorted(answers)
        record.late = [c for c in record.asked if c not in answers and c not in record.declined]
        if len(answers) >= self.least:
            rows = np.array([answers[c][HEADER:] for c in record.answered])
            examples = np.array([answers[c][1] for c in record.answered])
            finite = np.isfinite(rows).all(axis=1)
            record.broken = [c for c, good in zip(record.answered, finite, strict=True) if not good]
            self._aggregate(record, rows, examples)
        else:
            record.void = f"{len(answers)} answers, the fewest that count are {self.least}"
        record.bytes = order.nbytes * (len(record.asked) + len(answers)) + 8 * HEADER * len(record.declined)
        record.seconds = now(self.peers.comm) - begin
        self.number += 1
        return record

    def _aggregate(self, record: Round, rows: NDArray[np.float64], examples: Vector) -> None:
        """Update the model; the round is void if too few clients answered for the rule."""
        self.peers.carrier.phase("aggregate", step=self.number)
        try:
            self.model = self.aggregate(rows, examples)
        except UsageError as refusal:
            if len(rows) == len(record.asked):
                raise  # no answer is missing: no round of this size can work
            record.void = str(refusal)

    def _collect(self, record: Round, waiting: list[int], deadline: float | None) -> dict[int, Vector]:
        """Receive this round's answers until all have arrived or the time is up; drop older ones."""
        answers: dict[int, Vector] = {}
        missing = dict.fromkeys(waiting)
        while missing:
            mail = self._next(missing, deadline)
            for position, message in mail:
                if message[0] != self.number or position not in missing:
                    continue
                del missing[position]
                if message[1] > 0:
                    answers[position] = message
                else:
                    record.declined.append(position)
                    if message[1] == _FAILED:
                        self.clients.remove(position)
            missing = {c: None for c in missing if self.peers.alive(c)}
            if not mail and deadline is not None and self.peers.carrier.now() >= deadline:
                break
        return answers

    def _next(self, missing: Iterable[int], deadline: float | None) -> list[tuple[int, Vector]]:
        """The next message: with a deadline the first to arrive, else that of the first client in order."""
        if deadline is not None:
            return self._up.wait(deadline, owing=missing)
        first = next(iter(missing))
        message = self._up.take(first)
        return [] if message is None else [(first, message)]

    def close(self) -> None:
        """Stop every client and wait for its last message; late answers are received and dropped."""
        for position in range(SERVER + 1, self.peers.size):
            self._down.send(position, np.array([self.number, _STOP]))
        for position in sorted(self._up.sources):
            while (message := self._up.take(position)) is not None:
                if message[1] == _BYE:
                    self._up.stop(position)
                    break
        self._down.flush()


@contextmanager
def serving(comm: MPI.Intracomm | Peers, model: Vector, **options: object) -> Iterator[Server]:
    """Open a `Server` that stops its clients even after an error: ``with serving(comm, model) as server: ...``."""
    server = Server(comm, model, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()


def participate(comm: MPI.Intracomm | Peers, train: Train) -> int:
    """Train for the server until it sends stop; returns the number of rounds taken part in.

    Parameters
    ----------
    train : see `Train`. If it raises, the server is told that this client leaves, and once the job ends the error is
        raised.
    """
    peers = Peers.of(comm)
    down = Mailbox(peers, [SERVER], tag=_TAG_DOWN)
    up = Mailbox(peers, [], tag=_TAG_UP)
    done = 0
    trouble: BaseException | None = None
    while (order := down.take(SERVER)) is not None and order[1] != _STOP:
        number = int(order[0])
        answer = None
        if trouble is None:
            try:
                peers.carrier.phase("train", step=number)
                answer = train(order[HEADER:].copy(), number)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # sys.exit() as well: the others must not wait for a client that fails
                trouble = error
        if answer is None:
            up.send(SERVER, np.array([number, _ABSENT if trouble is None else _FAILED]))
        else:
            model, examples = answer
            up.send(SERVER, np.concatenate([[number, examples], model]))
            done += 1
    up.send(SERVER, np.array([0.0, _BYE]))
    up.flush()
    if trouble is not None:
        raise trouble
    return done
