"""Click-through prediction: clicks drawn by a known generator, and the model that learns them. No communication.

A click has one key in each of some categorical fields, drawn from a Zipf distribution, and some dense features. Its
log-odds are those of a factorization machine (Rendle, ICDM 2010): a row of the embedding table is (l, v), and

    logit = x w + sum_f l_f + sum_{f<g} v_f v_g = x w + sum_f l_f + (|sum_f v_f|^2 - sum_f |v_f|^2) / 2

The generator has such a table itself, so that the lowest loss that any model can reach is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from primitives.parameter_server import Adagrad

Array = NDArray[np.float64]
HELD_OUT = 1_000_000  # in place of a worker's rank: clicks that no worker trains on
_STRENGTH = 0.7  # of the generator's rows: large enough for the keys to matter


@dataclass(frozen=True)
class Batch:
    """Clicks, which nobody may change: several ranks of one process share them.

    Attributes
    ----------
    keys, features : (count, fields) and (count, dense)
    odds : the generator's log-odds of each
    clicked : whether each was clicked
    """

    keys: NDArray[np.int64]
    features: Array
    odds: Array
    clicked: Array

    @property
    def least(self) -> float:
        """The generator's own loss: mean cross-entropy in nats."""
        return _cross_entropy(self.odds, self)


@dataclass(frozen=True)
class Clicks:
    """The generator of clicks.

    Attributes
    ----------
    fields, rows_each, width, dense : categorical fields, keys in each, numbers in a row of the table, dense features
        with a constant
    skew : exponent of the Zipf distribution of the keys
    """

    seed: int = 0
    fields: int = 4
    rows_each: int = 5000
    width: int = 8
    dense: int = 16
    skew: float = 1.05

    @property
    def rows(self) -> int:
        """Number of rows of the table."""
        return self.fields * self.rows_each

    @cached_property
    def _shares(self) -> Array:
        shares = np.cumsum(np.arange(1, self.rows_each + 1) ** -self.skew)
        return shares / shares[-1]

    @cached_property
    def truth(self) -> tuple[Array, Array]:
        """The generator's own dense weights and table."""
        draw = np.random.default_rng((self.seed, 1))
        dense = 0.3 * draw.standard_normal(self.dense)
        dense[0] = -1.0  # of the constant: most impressions are no clicks
        return dense, _STRENGTH * draw.standard_normal((self.rows, self.width)) / np.sqrt(self.width)

    def batch(self, worker: int, step: int, count: int) -> Batch:
        """Draw the clicks of a worker's step: the same for the same arguments, wherever it is called."""
        return _drawn(self, worker, step, count)

    def distinct(self, count: int) -> int:
        """Mean number of distinct keys that a batch of `count` clicks touches."""
        return round(float(np.mean([len(np.unique(self.batch(HELD_OUT, step, count).keys)) for step in range(1, 21)])))


@lru_cache(maxsize=4096)  # of about 11 KB: a case runs the same steps on several networks, and in one process besides
def _drawn(data: Clicks, worker: int, step: int, count: int) -> Batch:
    draw = np.random.default_rng((data.seed, 2, worker, step))
    keys = np.searchsorted(data._shares, draw.random((count, data.fields))) + np.arange(data.fields) * data.rows_each
    features = np.hstack([np.ones((count, 1)), draw.standard_normal((count, data.dense - 1))])
    dense, table = data.truth
    odds = _logit(dense, table[keys], features)
    made = Batch(keys, features, odds, (draw.random(count) < _sigmoid(odds)).astype(float))
    for array in (made.keys, made.features, made.odds, made.clicked):
        array.flags.writeable = False
    return made


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _logit(dense: Array, rows: Array, features: Array) -> Array:
    total = rows[:, :, 1:].sum(axis=1)
    pairs = ((total**2).sum(axis=1) - (rows[:, :, 1:] ** 2).sum(axis=(1, 2))) / 2
    odds: Array = features @ dense + rows[:, :, 0].sum(axis=1) + pairs
    return odds


def _cross_entropy(odds: Array, batch: Batch) -> float:
    return float(np.mean(np.logaddexp(0.0, odds) - batch.clicked * odds))


def loss(dense: Array, rows: Array, batch: Batch) -> float:
    """Mean cross-entropy in nats; `rows` of the batch's keys, shape (count, fields, width)."""
    return _cross_entropy(_logit(dense, rows, batch.features), batch)


def gradient(dense: Array, rows: Array, batch: Batch) -> tuple[Array, Array, float]:
    """Gradients of the mean cross-entropy with respect to the dense weights and to each of the rows; and itself."""
    odds = _logit(dense, rows, batch.features)
    error = (_sigmoid(odds) - batch.clicked) / len(batch.clicked)
    by_rows = np.empty_like(rows)
    by_rows[:, :, 0] = error[:, None]
    by_rows[:, :, 1:] = error[:, None, None] * (rows[:, :, 1:].sum(axis=1, keepdims=True) - rows[:, :, 1:])
    return batch.features.T @ error, by_rows, _cross_entropy(odds, batch)


def initial(seed: int, width: int, keys: NDArray[np.int64]) -> Array:
    """The initial values of rows: small numbers by seed and key alone, so that every server can make its own."""
    numbers = keys[:, None].astype(np.uint64) * np.uint64(width) + np.arange(width, dtype=np.uint64)
    mixed = np.asarray(numbers + np.uint64(seed + 0x9E3779B97F4A7C15), np.uint64)
    mixed = mixed * np.uint64(0xBF58476D1CE4E5B9)  # SplitMix64 (Steele, Lea and Flood 2014)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return 0.1 * ((mixed >> np.uint64(11)).astype(float) / 2.0**53 - 0.5)


def one_process(
    clicks: Clicks, workers: list[int], steps: int, count: int, dense_rate: float, rate: float
) -> tuple[Array, Array]:
    """Train synchronously without messages: in each step the sum of all workers' gradients, then one update."""
    dense, table = np.zeros(clicks.dense), initial(clicks.seed, clicks.width, np.arange(clicks.rows))
    update = Adagrad(rate)
    state = update.state(table)
    for step in range(steps):
        by_dense, by_table, touched = np.zeros(clicks.dense), np.zeros_like(table), []
        for worker in workers:
            batch = clicks.batch(worker, step, count)
            found = gradient(dense, table[batch.keys], batch)
            by_dense += found[0] / len(workers)
            np.add.at(by_table, batch.keys, found[1] / len(workers))
            touched.append(batch.keys.ravel())
        rows = np.unique(np.concatenate(touched))
        update.apply(table, state, rows, by_table[rows])
        dense -= dense_rate * by_dense
    return dense, table
