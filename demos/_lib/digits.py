"""Softmax regression on scikit-learn's handwritten digits: data, gradient, loss. Small, real, convex."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator import datasets

Array = NDArray[np.float64]
IMAGES, FEATURES, CLASSES = 1797, 65, 10  # 64 pixels and a constant


@cache
def load() -> tuple[Array, NDArray[np.int64]]:
    """Load images (1797, 65) in 0..1 with a last column of ones, and their digits, in a fixed shuffled order."""
    rows = datasets.digits()
    features = np.hstack([rows[:, :-1] / 16.0, np.ones((len(rows), 1))])
    order = np.random.default_rng(0).permutation(len(rows))
    return features[order], rows[order, -1].astype(np.int64)


def share(control: MPI.Intracomm, owners: list[int]) -> tuple[Any, Any]:
    """Load on rank 0 and send each of `owners` every len(owners)-th image; others get empty arrays."""
    parts = None
    if control.Get_rank() == 0:
        images, digits = load()
        parts = [(images[:0], digits[:0])] * control.Get_size()
        for place, rank in enumerate(owners):
            parts[rank] = images[place :: len(owners)].copy(), digits[place :: len(owners)].copy()
    return control.scatter(parts)


@lru_cache(maxsize=8192)  # the same steps are done under several rules, and by one process that plays all
def batch(size: int, seed: int, worker: int, step: int, count: int) -> NDArray[np.int64]:
    """Indices of a worker's mini-batch: equal for equal arguments, wherever computed."""
    chosen = np.random.default_rng((seed, worker, step)).integers(0, size, count)
    chosen.flags.writeable = False
    return chosen


def probabilities(weights: Array, images: Array) -> Array:
    """Probability of each class for each image, shape (images, 10)."""
    return softmax(images @ weights)


def softmax(scores: Array) -> Array:
    """Exponentials along the last axis, divided by their sum."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found: Array = powers / powers.sum(axis=-1, keepdims=True)
    return found


def gradient(weights: Array, images: Array, digits: NDArray[np.int64]) -> Array:
    """Gradient of the mean cross-entropy, shape (65, 10)."""
    error = probabilities(weights, images)
    error[np.arange(len(digits)), digits] -= 1
    return images.T @ error / len(digits)


GRADIENT = 5  # messages between simulated ranks that take as much wall time as one gradient


def batch_gradient(weights: Array, shard: tuple[Any, Any], seed: int, worker: int, step: int, count: int) -> Array:
    """Gradient on a worker's mini-batch of its images and digits, in the shape of `weights`, which may be flat."""
    images, labels = shard
    chosen = batch(len(labels), seed, worker, step, count)
    return gradient(weights.reshape(FEATURES, CLASSES), images[chosen], labels[chosen]).reshape(weights.shape)


def loss(weights: Array, images: Array, digits: NDArray[np.int64]) -> float:
    """Mean cross-entropy in nats."""
    chosen = probabilities(weights, images)[np.arange(len(digits)), digits]
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())


def accuracy(weights: Array, images: Array, digits: NDArray[np.int64]) -> float:
    """Share of the images whose most probable class is correct."""
    return float((probabilities(weights, images).argmax(axis=1) == digits).mean())
