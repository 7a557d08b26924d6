"""Click-through prediction: clicks drawn by a known generator, and the model that learns them. No communication.

A click has one key in each of some categorical fields, drawn from a Zipf distribution, and some dense features. Its
log-odds are those of a factorization machine (Rendle, ICDM 2010): a row of the embedding table is (l, v), and

    logit = x w + sum_f l_f + sum_{f<g} v_f v_g = x w + sum_f l_f + (|sum_f v_f|^2 - sum_f |v_f|^2) / 2

The generator has such a table itself, so that the lowest loss that any model can reach is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from primitives.parameter_server import Adagrad

Array = NDArray[np.float64]
HELD_OUT = 1_000_000  # in place of a worker's rank: clicks that no worker trains on
_STRENGTH = 0.7  # of the generator's rows: large enough for the keys to matter


@dataclass(frozen=True)
class Batch:
    """Clicks: their keys (count, fields), dense features (count, dense), and whether each was clicked."""

    keys: NDArray[np.int64]
    features: Array
    clicked: Array


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
        draw = np.random.default_rng((self.seed, 2, worker, step))
        keys = (
            np.searchsorted(self._shares, draw.random((count, self.fields))) + np.arange(self.fields) * self.rows_each
        )
        features = np.hstack([np.ones((count, 1)), draw.standard_normal((count, self.dense - 1))])
        dense, table = self.truth
        odds = _logit(dense, table[keys], features)
        return Batch(keys, features, (draw.random(count) < _sigmoid(odds)).astype(float))

    def distinct(self, count: int) -> int:
        """Mean number of distinct keys that a batch of `count` clicks touches."""
        return round(float(np.mean([len(np.unique(self.batch(HELD_OUT, step, count).keys)) for step in range(1, 21)])))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _logit(dense: Array, rows: Array, features: Array) -> Array:
    total = rows[:, :, 1:].sum(axis=1)
    pairs = ((total**2).sum(axis=1) - (rows[:, :, 1:] ** 2).sum(axis=(1, 2))) / 2
    odds: Array = features @ dense + rows[:, :, 0].sum(axis=1) + pairs
    return odds


def loss(dense: Array, rows: Array, batch: Batch) -> float:
    """Mean cross-entropy in nats; `rows` of the batch's keys, shape (count, fields, width)."""
    odds = _logit(dense, rows, batch.features)
    return float(np.mean(np.logaddexp(0.0, odds) - batch.clicked * odds))


def gradient(dense: Array, rows: Array, batch: Batch) -> tuple[Array, Array]:
    """Gradients of the mean cross-entropy with respect to the dense weights and to each of the rows."""
    error = (_sigmoid(_logit(dense, rows, batch.features)) - batch.clicked) / len(batch.clicked)
    by_rows = np.empty_like(rows)
    by_rows[:, :, 0] = error[:, None]
    by_rows[:, :, 1:] = error[:, None, None] * (rows[:, :, 1:].sum(axis=1, keepdims=True) - rows[:, :, 1:])
    return batch.features.T @ error, by_rows


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
