"""The work that patterns and their oracles share; no MPI in here."""

from __future__ import annotations

import time

import numpy as np

_ROUNDS = 400
_LOADED = 12
_GRIP_PROBE = 200_000


def task(step: int, number: int) -> int:
    """A task of a fraction of a millisecond whose answer cannot be guessed."""
    value = (step * 1_000_003 + number * 7919 + 1) % 2**31
    for _ in range(_ROUNDS):
        value = (value * 1_103_515_245 + 12_345) % 2**31
    return value


def answers(steps: int, tasks: int) -> np.ndarray:
    """The right answers of all requests, shape (steps, tasks)."""
    value = (np.arange(steps)[:, np.newaxis] * 1_000_003 + np.arange(tasks) * 7919 + 1) % 2**31
    for _ in range(_ROUNDS):
        value = (value * 1_103_515_245 + 12_345) % 2**31  # below 2**62
    return value


def own_state(size: int) -> dict[str, np.ndarray]:
    """Make each rank's private arrays, of `size` bytes together, as of before the first step."""
    return {"trace": np.zeros(size // 8), "seen": np.zeros(1, np.int64)} if size else {}


def own_step(own: dict[str, np.ndarray], place: int, step: int) -> None:
    """Update the private arrays; the result depends on the place and on all earlier steps."""
    if own:
        own["trace"] *= 0.5
        own["trace"] += np.sin(place + 1.0 + step)
        own["seen"] += (place + 1) * (step + 1)


def loaded(ballast: int, step: int) -> bool:
    """Whether a step sends the ballast, in patterns in which all steps with it would take too long."""
    return ballast > 0 and step % _LOADED == 0


def ballast(size: int) -> np.ndarray:
    """An array of ones that makes a message `size` bytes longer; a damaged transfer changes it."""
    return np.ones(size // 8)


def opinion(rank: int, seed: int, length: int = 8) -> np.ndarray:
    """The initial value of a rank in gossip."""
    return np.random.default_rng((seed, rank)).uniform(-1.0, 1.0, length)


def grip(seconds: float) -> None:
    """Compute in one call that never releases the interpreter lock, as many C extensions do."""
    began = time.thread_time()
    sum(range(_GRIP_PROBE))
    per_number = (time.thread_time() - began) / _GRIP_PROBE
    sum(range(int(seconds / per_number)))
