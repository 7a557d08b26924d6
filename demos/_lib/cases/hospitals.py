"""Hospitals that share scikit-learn's breast-cancer table, and the model that each trains. No communication.

Every hospital has rows of its own, unequal in number and in the share of malignant ones: for each class the shares of
the hospitals are drawn from a Dirichlet distribution (Hsu, Qi and Brown, "Measuring the effects of non-identical data
distribution for federated visual classification", 2019). The model is logistic regression with a small penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emulator import datasets
from emulator.errors import UsageError

Array = NDArray[np.float64]
FEATURES = 31  # 30 columns and a constant
FEWEST = 8  # rows of a hospital: with fewer it has nothing to hold out
_PENALTY = 1e-3


@cache
def table() -> tuple[Array, Array]:
    """Columns (569, 30) and labels (1 is malignant) in a fixed shuffled order."""
    rows = datasets.breast_cancer()
    order = np.random.default_rng(0).permutation(len(rows))
    return rows[order, :-1], 1.0 - rows[order, -1]


@dataclass(frozen=True)
class Rows:
    """The rows of one hospital: training rows and held-out rows."""

    columns: Array
    labels: Array
    test_columns: Array
    test_labels: Array

    def moments(self) -> Array:
        """Count, sums and sums of squares of the columns: all that a hospital sends before the training."""
        return np.concatenate([[len(self.labels)], self.columns.sum(axis=0), (self.columns**2).sum(axis=0)])

    def standardised(self, moments: Array) -> Rows:
        """The rows with mean 0 and deviation 1 over all hospitals' `moments`, and a column of ones."""
        count, sums, squares = moments[0], *np.split(moments[1:], 2)
        mean = sums / count
        deviation = np.sqrt(squares / count - mean**2)

        def scale(columns: Array) -> Array:
            return np.hstack([(columns - mean) / deviation, np.ones((len(columns), 1))])

        return Rows(scale(self.columns), self.labels, scale(self.test_columns), self.test_labels)


def split(hospitals: int, seed: int, concentration: float = 0.5) -> list[NDArray[np.int64]]:
    """Draw the row numbers of each hospital, again until each has at least `FEWEST`.

    Raises
    ------
    UsageError
        More hospitals than the table has rows for.
    """
    labels = table()[1]
    if hospitals * 2 * FEWEST > len(labels):
        raise UsageError(f"the table's {len(labels)} rows are for at most {len(labels) // (2 * FEWEST)} hospitals, got "
                         f"{hospitals}: start fewer ranks")  # fmt: skip
    draw = np.random.default_rng((seed, hospitals))
    while True:  # ends: every draw has a chance of an even split
        parts: list[list[NDArray[np.int64]]] = [[] for _ in range(hospitals)]
        for label in (0.0, 1.0):
            chosen = draw.permutation(np.flatnonzero(labels == label))
            cuts = np.cumsum(draw.dirichlet([concentration * hospitals / 2] * hospitals))[:-1] * len(chosen)
            for part, rows in zip(parts, np.split(chosen, cuts.astype(int)), strict=True):
                part.append(rows)
        found = [np.sort(np.concatenate(part)) for part in parts]
        if min(map(len, found)) >= FEWEST:
            return found


def rows(numbers: NDArray[np.int64]) -> Rows:
    """Rows of the table by number; every fourth is held out."""
    columns, labels = table()
    test = numbers[::4]
    train = np.setdiff1d(numbers, test)
    return Rows(columns[train], labels[train], columns[test], labels[test])


def gradient(model: Array, own: Rows) -> Array:
    """Gradient of the mean cross-entropy with its penalty."""
    odds = np.minimum(np.maximum(own.columns @ model, -500), 500)  # of few rows: np.clip takes three times as long
    share = 1 / (1 + np.exp(-odds))
    found: Array = own.columns.T @ (share - own.labels) / len(own.labels) + _PENALTY * model
    return found


def train(model: Array, own: Rows, steps: int, rate: float) -> Array:
    """Do some steps of gradient descent from `model`."""
    learned = model.copy()
    for _ in range(steps):
        learned -= rate * gradient(learned, own)
    return learned


def right(model: Array, own: Rows) -> tuple[int, int]:
    """Number of held-out rows that the model classifies correctly, and number of held-out rows."""
    return int(((own.test_columns @ model > 0) == (own.test_labels > 0.5)).sum()), len(own.test_labels)


def pooled(parts: list[Rows]) -> Rows:
    """All rows in one place, which no hospital may have: for comparison only."""
    fields = ("columns", "labels", "test_columns", "test_labels")
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
