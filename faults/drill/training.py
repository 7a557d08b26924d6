"""Elastic data-parallel training whose result does not depend on the number of ranks.

scikit-learn's digits, a network 64 -> hidden -> 10 (tanh, softmax), stochastic gradient descent with momentum, in
float64. Each batch is cut into a fixed number of *virtual shards*, and rank r of p computes the shards from
r*V//p to (r+1)*V//p - 1. A shard's gradient has the same bits wherever it is computed; what could depend on p is only
the order in which they are added. Three ways to add them:

    exact      shards become 64-bit integers in units of 2**-40: integer addition is associative, so a ring all-reduce
               over any number of ranks gives the same bits; costs what a float all-reduce costs
    ordered    every rank gathers all V shard gradients and adds them in the order of the shards: float64 with a
               fixed order of additions; V/2 times the bytes
    plain      float64 ring all-reduce, in the ring's order: results agree to rounding (about 1e-12 here)

With `exact` and `ordered` a run that lost ranks on its way ends bit-equal to the fault-free run, whatever the policy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from emulator.errors import Registry, UsageError
from faults.record.checksum import checksum

DATA = "digits.npy"
_UNIT = 2.0**40
_PIXELS, _DIGITS = 64, 10

State = dict[str, np.ndarray]


def save_digits(path: str | Path, same: Path | None = None) -> None:
    """Write scikit-learn's digits (1797 rows: 64 pixels in [0, 1] and the label) for all ranks of a job.

    Parameters
    ----------
    same : a file that has them, perhaps: it is linked then, where the file system can
    """
    with contextlib.suppress(OSError):
        if same is not None:
            os.link(same, path)
            return
    from emulator import datasets  # ranks read the file: what makes it takes 8 ms
    from emulator.results.files import replacing

    rows = datasets.digits()
    with replacing(path) as waiting, waiting.open("wb") as file:
        np.save(file, np.column_stack([rows[:, :-1] / 16.0, rows[:, -1]]))


@dataclass
class Training:
    """The arithmetic of the training, without communication.

    Parameters
    ----------
    data : (rows, 65): pixels and label
    shards : V, the virtual shards of a batch; the most ranks that can have work
    batch, hidden, rate, momentum, seed : as usual; the seed makes the first weights and the order of the rows
    """

    data: np.ndarray
    shards: int = 32
    batch: int = 256
    hidden: int = 32
    rate: float = 0.2
    momentum: float = 0.9
    seed: int = 0
    _orders: dict[int, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.shards <= self.batch:
            raise UsageError(f"virtual shards must be between 1 and the batch of {self.batch}, got {self.shards}")

    @property
    def parameters(self) -> int:
        return (_PIXELS + 1) * self.hidden + (self.hidden + 1) * _DIGITS

    def begin(self) -> State:
        """Make the first weights (scaled normal) and a velocity of zero."""
        draw = np.random.default_rng(self.seed)
        return {
            "weights": draw.standard_normal(self.parameters) / np.sqrt(_PIXELS),
            "velocity": np.zeros(self.parameters),
        }

    def own(self, rank: int, size: int) -> range:
        """The virtual shards that one rank computes."""
        return range(rank * self.shards // size, (rank + 1) * self.shards // size)

    def rows(self, step: int, shard: int) -> np.ndarray:
        """The rows of one shard of the batch of one step."""
        per_epoch = len(self.data) // self.batch
        epoch, place = divmod(step, per_epoch)
        if epoch not in self._orders:
            self._orders = {epoch: np.random.default_rng((self.seed, epoch)).permutation(len(self.data))}
        batch = self._orders[epoch][place * self.batch : (place + 1) * self.batch]
        return batch[shard * self.batch // self.shards : (shard + 1) * self.batch // self.shards]

    def gradients(self, weights: np.ndarray, step: int, shards: Sequence[int]) -> np.ndarray:
        """The gradients of some virtual shards of one step, as `slope` returns them; each has the bits it has alone."""
        rows = [self.rows(step, shard) for shard in shards]
        if len({len(one) for one in rows}) == 1:
            return self.slope(weights, np.stack(rows))
        return np.array([self.slope(weights, one) for one in rows]).reshape(len(rows), self.parameters + 1)

    def slope(self, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Sum of the loss' gradient over the rows; the sum of the losses is appended as a last element.

        `rows` may have further axes before the last: each set of rows has a sum of its own.
        """
        chosen = self.data[rows]
        pixels, right = chosen[..., :_PIXELS], chosen[..., _PIXELS:] == np.arange(_DIGITS)
        w1, b1, w2, b2 = self._layers(weights)
        inner = np.tanh(pixels @ w1 + b1)
        scores = inner @ w2 + b2
        scores -= scores.max(axis=-1, keepdims=True)
        chance = np.exp(scores)
        chance /= chance.sum(axis=-1, keepdims=True)
        loss = -np.log(chance[right].reshape(rows.shape)).sum(axis=-1)
        chance -= right
        back = (chance @ w2.T) * (1.0 - inner * inner)
        first, second = pixels.swapaxes(-1, -2) @ back, inner.swapaxes(-1, -2) @ chance
        parts = (first, back.sum(axis=-2), second, chance.sum(axis=-2), loss)
        return np.concatenate([part.reshape(*rows.shape[:-1], -1) for part in parts], axis=-1)

    def _layers(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        first = _PIXELS * self.hidden
        second = first + self.hidden
        last = second + self.hidden * _DIGITS  # slices: numpy.split takes a third of the time of a gradient
        w1, b1, w2, b2 = weights[:first], weights[first:second], weights[second:last], weights[last:]
        return w1.reshape(_PIXELS, self.hidden), b1, w2.reshape(self.hidden, _DIGITS), b2

    def apply(self, state: State, total: np.ndarray) -> float:
        """Do one step of descent with the whole batch's gradient; returns the batch's mean loss."""
        mean = total / self.batch
        state["velocity"][:] = self.momentum * state["velocity"] + mean[:-1]
        state["weights"] -= self.rate * state["velocity"]
        return float(mean[-1])

    def locally(self, weights: np.ndarray, client: int, clients: int, number: int, steps: int = 4) -> np.ndarray:
        """Do a federated client's round: some steps of descent on its own rows, from the server's model."""
        own = np.arange(client, len(self.data), clients)
        order = np.random.default_rng((self.seed, client, number)).permutation(own)
        for rows in np.array_split(order, steps):
            weights = weights - self.rate * self.slope(weights, rows)[:-1] / len(rows)
        return weights

    def accuracy(self, weights: np.ndarray) -> float:
        """Share of all rows that the model gets right."""
        w1, b1, w2, b2 = self._layers(weights)
        best = (np.tanh(self.data[:, :_PIXELS] @ w1 + b1) @ w2 + b2).argmax(axis=1)
        return float((best == self.data[:, _PIXELS]).mean())

    def alone(self, steps: int, reduction: str = "exact") -> tuple[State, list[float]]:
        """The oracle: train in one process; returns the final state and the loss of each step."""
        state, losses, way = self.begin(), [], REDUCTIONS[reduction]
        for step in range(steps):
            parts = self.gradients(state["weights"], step, range(self.shards))
            losses.append(self.apply(state, way.decode(np.add.reduce(way.encode(parts)))))
        return state, losses


def to_exact(gradient: np.ndarray) -> np.ndarray:
    """Round to integers in units of 2**-40; |sum| stays below 2**63 up to gradients of eight million."""
    return np.rint(gradient * _UNIT).astype(np.int64)


def from_exact(total: np.ndarray) -> np.ndarray:
    return total / _UNIT


@dataclass(frozen=True)
class Reduction:
    """An algorithm that adds up the gradients of all shards.

    Attributes
    ----------
    dtype : type of the elements that are sent and added
    encode, decode : a gradient in these elements, and their sum as a gradient
    gathers : every rank gathers the gradients of all shards and adds them in their order; otherwise the ring adds them
    rounding : largest difference from a loss of the fault-free run; 0: the bits are the same
    points : named points of the collective operation at which a fault can strike
    """

    name: str
    dtype: type[np.generic] = np.float64
    encode: Callable[[np.ndarray], np.ndarray] = np.asarray
    decode: Callable[[np.ndarray], np.ndarray] = np.copy
    gathers: bool = False
    rounding: float = 0.0
    points: tuple[str, ...] = ("reduce_scatter", "all_gather")


REDUCTIONS = Registry(
    "a reduction",
    Reduction("exact", np.int64, to_exact, from_exact),
    Reduction("ordered", gathers=True, points=("all_gather",)),
    Reduction("plain", rounding=1e-9),
)


def digest(state: State) -> str:
    """Eight hex digits (CRC-32) of the whole state, bit for bit."""
    return f"{checksum(state):08x}"
