"""Choco-Gossip: averaging with compressed messages that still converges to the exact average.

Compressing x itself leaves an error that never goes away. Choco sends the compressed *change* since what the
neighbours already know, so that what is left out now is sent later:

    x_i                what rank i holds
    public_i           what everybody beside it believes that it holds; kept by i and by each neighbour

    q_i       = Q(x_i - public_i)                        sent to the neighbours, instead of x_i
    public_j += q_j                                      for itself and every neighbour j
    x_i      += step * sum_j w_ij (public_j - public_i)

The mean of the x_i never changes (W is symmetric). Bytes per rank and round: degree * compressor.nbytes(n) instead
of degree * 8 n. With step = `safe_step` the error e = sum ||x_i - mean||^2 + ||x_i - public_i||^2 shrinks at least by
1 - delta^2 omega / 82 per round (delta: spectral gap, omega: the compressor's quality). That is a proof's step: on a
ring of 16 with a fifth of the entries it is 0.00006. With `bold_step` the graph's slowest mode sets the speed, and the
distance to the mean shrinks by about 1 - omega delta per round, some 200 times as fast there; much more diverges.

A dead neighbour's public copy leaves the sum, as if the edge were not there.

Source: Koloskova, Stich and Jaggi, "Decentralized stochastic optimization and gossip algorithms with compressed
communication" (ICML 2019), algorithm 1 and theorem 2.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.gossip.compression import Compressor
from primitives.gossip.mixing import Mixing, check, spectral_gap
from primitives.peers import Peers

_TAG = 631


def safe_step(mixing: Mixing, omega: float) -> float:
    """Give the step of theorem 2: delta^2 omega / (16 delta + delta^2 + 4 b^2 + 2 delta b^2 - 8 delta omega).

    delta is the spectral gap, b = || I - W ||_2.
    """
    delta = spectral_gap(mixing)
    b2 = float(np.linalg.norm(np.eye(mixing.size) - mixing.matrix(), 2)) ** 2
    return delta**2 * omega / (16 * delta + delta**2 + 4 * b2 + 2 * delta * b2 - 8 * delta * omega)


def bold_step(omega: float) -> float:
    """Give the step for practice: the compressor's quality.

    No proof stands behind it. On rings and tori all compressors here converge with it, at 1 - omega delta per round;
    random entries diverge at twice this step on a ring of 16, the largest ones at four times.
    """
    return min(1.0, omega)


class Choco:
    """One rank's state of Choco-Gossip.

    Parameters
    ----------
    comm
        Communicator or table of peers.
    x
        float64 vector, the same length everywhere; `self.x` is a copy of it.
    mixing
        Symmetric and doubly stochastic.
    compressor
        The same on every rank.
    step
        In (0, 1]; absent: `safe_step`.

    Raises
    ------
    UsageError
        The mixing is not symmetric or not doubly stochastic, or the step does not lie in (0, 1].
    """

    def __init__(
        self,
        comm: MPI.Intracomm | Peers,
        x: NDArray[np.float64],
        mixing: Mixing,
        compressor: Compressor,
        *,
        step: float | None = None,
        seed: int = 0,
    ) -> None:
        self.peers = Peers.of(comm)
        if not np.allclose(mixing.matrix(), mixing.matrix().T):
            raise UsageError(f"Choco needs a symmetric mixing matrix, '{mixing.graph.name}' has one-way edges")
        if mixing.size != self.peers.size:
            raise UsageError(f"'{mixing.graph.name}' is for {mixing.size} ranks, this gossip has {self.peers.size}")
        self.mixing = check(mixing)
        self.compressor = compressor
        self.gamma = safe_step(mixing, compressor.omega(len(x))) if step is None else step
        if not 0 < self.gamma <= 1:
            raise UsageError(f"Choco's step lies in (0, 1], got {self.gamma}: leave it out for a safe one")
        self.x = np.array(x, np.float64)
        self.public = {j: np.zeros_like(self.x) for j in mixing.weights[self.peers.rank]}
        self.seed, self.round = seed, 0

    @property
    def nbytes(self) -> int:
        """Bytes of one message."""
        return self.compressor.nbytes(len(self.x))

    def step(self) -> None:
        """Do one round; all members call it."""
        self.peers.carrier.phase("choco", round=self.round)
        me, n = self.peers.rank, len(self.x)
        draw = (self.seed * 1_000_003 + self.round) * self.peers.size + me
        message = self.compressor.encode(self.x - self.public[me], draw)
        received = {j: np.empty(self.nbytes, np.uint8) for j in self.mixing.graph.sources(me)}
        sends = [(j, message) for j in self.mixing.graph.neighbours[me]]
        arrived = self.peers.exchange(sends, list(received.items()), _TAG)
        self.public[me] += self.compressor.decode(message, n)
        change = np.zeros(n)
        for j in sorted(arrived):
            self.public[j] += self.compressor.decode(received[j], n)
            change += self.mixing.weights[me][j] * (self.public[j] - self.public[me])
        self.x += self.gamma * change
        self.round += 1
