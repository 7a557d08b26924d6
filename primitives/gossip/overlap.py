"""Push-sum whose messages may be some rounds late, so that they travel while the ranks compute.

    round t    compute    x = (s, w) / (1 + degree), a share to each target of round t    take in what may be late

    bound s    the messages of round t - s are waited for: no rank is more than s rounds ahead of a neighbour
    no bound   what has arrived is taken in, and nothing is waited for

Mass is moved and never copied: s and w are conserved at every instant, with the shares under way, and every s / w tends
to the mean. With bound 0 this is synchronous push-sum. Sends are tested a round later and not waited for: their
receivers may take them some rounds later.

Time of a round of d messages of n bytes beside C seconds of computing: max(C, d n beta, (alpha + d n beta) / s) for
equal ranks; the last term is the bound's. Where d n beta > C, messages pile up at the card unless a rank drains its
sends before each round (`OverlapPush.drain`).

Source: Assran, Loizou, Ballas and Rabbat, "Stochastic gradient push for distributed deep learning" (ICML 2019),
overlap SGP, whose tau is the bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.gossip.graphs import Graph
from primitives.mailbox import Mailbox
from primitives.peers import Peers

_TAG = 642


class OverlapPush:
    """One rank's side; all members make equally many rounds.

    Parameters
    ----------
    comm
        Communicator or table of peers.
    x
        float64 vector, the same length everywhere.
    rounds
        Graphs of the rounds, taken round robin.
    bound
        Rounds that a message may be late; None: any number.

    Attributes
    ----------
    mass
        The array (s, w), length n + 1.
    round
        Rounds done.
    """

    def __init__(
        self, comm: MPI.Intracomm | Peers, x: NDArray[np.float64], rounds: Sequence[Graph], bound: int | None = None
    ) -> None:
        if bound is not None and bound < 0:
            raise UsageError(f"a bound is at least 0 rounds, got {bound}: leave it out to wait for nothing")
        self.peers = Peers.of(comm)
        for graph in rounds:
            graph.check_size(self.peers.size)
        self.rounds, self.bound, self.round = rounds, bound, 0
        self.mass = np.append(np.asarray(x, np.float64), 1.0)
        sources = {source for graph in rounds for source in graph.sources(self.peers.rank)}
        self._box = Mailbox(self.peers, sorted(sources), tag=_TAG, most=self.peers.size)
        self._due: list[tuple[int, int]] = []  # (round, source) of the messages that are not taken in yet

    @property
    def estimate(self) -> NDArray[np.float64]:
        """This rank's estimate of the mean."""
        found: NDArray[np.float64] = self.mass[:-1] / self.mass[-1]
        return found

    def step(self) -> None:
        """Do one round."""
        peers, graph = self.peers, self.rounds[self.round % len(self.rounds)]
        peers.carrier.phase("push", push=self.round)
        self._box.tidy()
        targets = [j for j in graph.neighbours[peers.rank] if peers.alive(j)]
        self.mass /= len(targets) + 1
        self.mass *= 1 + sum([not self._box.send(j, self.mass) for j in targets])  # what is not delivered stays here
        self._due += [(self.round, source) for source in graph.sources(peers.rank)]
        self.round += 1
        self._take(self._arrived() if self.bound is None else self.round - self.bound)

    def drain(self) -> None:
        """Wait until what this rank has sent is complete: on an emulated network, until it has left the card."""
        self._box.flush()

    def finish(self) -> NDArray[np.float64]:
        """Take in all that is under way; returns the estimate."""
        self._take(self.round)
        self._box.flush()
        return self.estimate

    def _take(self, until: int | list[tuple[int, int]]) -> None:
        """Wait for the messages of all rounds below a number, or for these."""
        for one in [one for one in self._due if (one[0] < until if isinstance(until, int) else one in until)]:
            self._due.remove(one)
            message = self._box.take(one[1])
            if message is not None:  # else its sender is lost
                self.mass += message

    def _arrived(self) -> list[tuple[int, int]]:
        """The next message of each source that has one by now; taking it moves no clock."""
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
