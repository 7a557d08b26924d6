"""Push-sum: averaging over one-way edges, by messages that may be some rounds late and travel while ranks compute.

    round t    compute    (s, w) <- (s, w) / (1 + degree), a share to each target    take in what must not be later

    bound 0    the messages of this round are waited for: synchronous push-sum
    bound b    the messages of round t - b are waited for: no rank is more than b rounds ahead of a neighbour
    no bound   what has arrived is taken in, and nothing is waited for

Each rank begins with (s, w) = (x, 1). Mass is moved and never copied: the sums over all ranks of s and of w, with the
shares under way, never change, and every s / w tends to the mean. Sends are tested a round later and not waited for:
their receivers may take them some rounds later. A dead rank takes its s and w with it, so the survivors' estimates
stay weighted means of the initial values.

Time of a round of d messages of n bytes beside C seconds of computing: C + alpha + d n beta with bound 0, else
max(C, d n beta, (alpha + d n beta) / b) for equal ranks. Where d n beta > C and there is no bound, messages pile up at
the card, unless a rank drains its sends before each round (`PushSum.drain`).

Sources: Kempe, Dobra and Gehrke, "Gossip-based computation of aggregate information" (FOCS 2003); Benezit et al. (ISIT
2010) for the weighted, one-way form; Assran, Loizou, Ballas and Rabbat, "Stochastic gradient push for distributed deep
learning" (ICML 2019) for late messages (overlap SGP, whose tau is the bound).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.gossip.graphs import Graph
from primitives.mailbox import Mailbox
from primitives.peers import Peers

_TAG = 642


class PushSum:
    """Push-sum on one rank; all members make equally many rounds.

    Parameters
    ----------
    comm : communicator or table of peers
    x : float64 vector, the same length everywhere
    rounds : a strongly connected graph, whose edges may go one way, or graphs that are taken round robin
    bound : rounds that a message may be late; None: any number
    seed : None: shares go to all targets of the round's graph. A number: half goes to *one* of them, drawn from (seed,
        round) by a generator that all ranks share, so that every receive can name its source. (On a complete graph the
        expected error then shrinks by sqrt(1/2 - 1/(2p)) per round: Kempe et al., lemma 2.3.)

    Attributes
    ----------
    mass : the array (s, w), length n + 1; the weights w of all ranks sum to p
    round : rounds done
    """

    def __init__(
        self, comm: MPI.Intracomm | Peers, x: NDArray[np.float64], rounds: Graph | Sequence[Graph],
        bound: int | None = 0, seed: int | None = None,
    ) -> None:  # fmt: skip
        if bound is not None and bound < 0:
            raise UsageError(f"a bound is at least 0 rounds, got {bound}: give None to wait for nothing")
        self.peers = Peers.of(comm)
        self.rounds = [rounds.check_connected()] if isinstance(rounds, Graph) else rounds
        for graph in self.rounds:
            graph.check_size(self.peers.size)
        self.bound, self.seed, self.round = bound, seed, 0
        self.mass = np.append(np.asarray(x, np.float64), 1.0)
        sources = {source for graph in self.rounds for source in graph.sources(self.peers.rank)}
        self._box = Mailbox(self.peers, sorted(sources), tag=_TAG, most=self.peers.size)
        self._due: list[tuple[int, int]] = []  # (round, source) of the messages that are not taken in yet

    @property
    def estimate(self) -> NDArray[np.float64]:
        """This rank's estimate of the mean."""
        found: NDArray[np.float64] = self.mass[:-1] / self.mass[-1]
        return found

    def step(self) -> None:
        """Do one round."""
        peers = self.peers
        peers.carrier.phase("push_sum", round=self.round)
        self._box.tidy()
        targets, sources = self._partners()
        living = [j for j in targets if peers.alive(j)]
        self.mass /= len(living) + 1
        self.mass *= 1 + sum([not self._box.send(j, self.mass) for j in living])  # what is not delivered stays here
        self._due += [(self.round, source) for source in sources]
        self.round += 1
        self._take(self._arrived() if self.bound is None else self.round - self.bound)

    def run(self, rounds: int) -> NDArray[np.float64]:
        """Do `rounds` rounds; returns the estimate."""
        for _ in range(rounds):
            self.step()
        return self.estimate

    def drain(self) -> None:
        """Wait until this rank's sends are complete: on an emulated network, until they have left the card."""
        self._box.flush()

    def finish(self) -> NDArray[np.float64]:
        """Receive all messages that are still under way; returns the estimate."""
        self._take(self.round)
        self._box.flush()
        return self.estimate

    def _partners(self) -> tuple[Sequence[int], Sequence[int]]:
        """Targets and sources of this round."""
        me, graph = self.peers.rank, self.rounds[self.round % len(self.rounds)]
        if self.seed is None:
            return graph.neighbours[me], graph.sources(me)
        contacts = graph.contacts(self.seed, self.round)
        return [contacts.targets[me]], contacts.callers[me]

    def _take(self, until: int | list[tuple[int, int]]) -> None:
        """Wait for the messages of all rounds below a number, or for the given ones."""
        wanted = [one for one in self._due if (one[0] < until if isinstance(until, int) else one in until)]
        living = {source for _, source in wanted if self.peers.alive(source)}
        with contextlib.suppress(MPI.Exception):  # about a source that is lost: the receive tells which
            self.peers.carrier.wait_for_all([self.peers.members[source] for source in sorted(living)], _TAG)
        for one in wanted:
            self._due.remove(one)
            message = self._box.take(one[1])
            if message is not None:  # else its sender is lost
                self.mass += message

    def _arrived(self) -> list[tuple[int, int]]:
        """The next message from each source, of those that have arrived; taking them moves no clock."""
        carrier, found = self.peers.carrier, {}
        for number, source in self._due:
            if source not in found and self.peers.alive(source):
                try:
                    there = carrier.arrivals([self.peers.members[source]], _TAG)
                except MPI.Exception as error:
                    self.peers.lose(source, error)
                    there = {}
                if any(arrival <= carrier.now() for arrival in there.values()):
                    found[source] = (number, source)
        return list(found.values())
