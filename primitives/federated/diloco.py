"""Local-update training (DiLoCo): ranks average their models once every H steps.

    every rank, from the same model theta:
      H inner steps of its own optimiser on its own data      theta -> local_i         no communication
      d = mean over ranks of (theta - local_i)                one all-reduce           "outer gradient"
      v <- mu v + d;   theta <- theta - lr (d + mu v)         the same on every rank   Nesterov momentum

Communication: one all-reduce of n bytes per H steps instead of per step, so bytes and latencies shrink by H; the
price is that models drift apart in between, the more so the more their data differ. With H = 1, lr = 1, mu = 0 and
plain SGD inside, this is synchronous data-parallel SGD; with H > 1, lr = 1, mu = 0 it is local SGD (FedAvg with
all ranks in every round).

Sources: Douillard et al., "DiLoCo: Distributed low-communication training of language models" (2023); Stich, "Local
SGD converges fast and communicates little" (ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError

Vector = NDArray[np.float64]
Average = Callable[[Vector], Vector]
"""Mean of a vector over all ranks, with the same bits on each: an all-reduce divided by p."""


class DiLoCo:
    """The outer optimiser.

    Parameters
    ----------
    model : float64 vector, the same on every rank
    average : see `Average`. Its vector is used up: it may work in place.
    lr, momentum : of the outer steps. The paper's values suit large models; 1 and 0 give local SGD.

    Attributes
    ----------
    model, velocity : the same on every rank after every round
    """

    def __init__(self, model: Vector, average: Average, *, lr: float = 0.7, momentum: float = 0.9) -> None:
        if not lr > 0:
            raise UsageError(f"the outer learning rate is above 0, got {lr}")
        if not 0 <= momentum < 1:
            raise UsageError(f"the outer momentum lies in [0, 1), got {momentum}")
        self.model = np.array(model, np.float64)
        self.velocity = np.zeros_like(self.model)
        self.average, self.lr, self.momentum = average, lr, momentum
        self.rounds = 0

    def round(self, inner: Callable[[Vector, int], Vector], inner_steps: int) -> Vector:
        """Do `inner_steps` steps ``model = inner(model, step)`` apart, then one outer step together.

        Parameters
        ----------
        inner : one step of the local optimiser; `step` counts from 0 over all rounds. It may work in place.
        inner_steps : H >= 1

        Returns
        -------
        ndarray
            The new common model (also `self.model`).
        """
        if inner_steps < 1:
            raise UsageError(f"a round has at least 1 inner step, got {inner_steps}")
        local, first = self.model.copy(), self.rounds * inner_steps
        for step in range(first, first + inner_steps):
            local = inner(local, step)
        change = self.average(self.model - local)
        self.velocity = self.momentum * self.velocity + change
        self.model = self.model - self.lr * (change + self.momentum * self.velocity)
        self.rounds += 1
        return self.model
