"""A small character model, trained by data and by tensor parallelism: numpy, one hidden layer.

    context of 6 characters ─► w1 ─► tanh ─► w2 ─► + b2 ─► next character

        data rank 0   [ hidden units 0..h-1 | units h..2h-1 ]     tensor ranks 0 and 1
        data rank 1   [ hidden units 0..h-1 | units h..2h-1 ]

Tensor ranks share out the hidden units: each has a slice of the columns of w1 and of the rows of w2, and their parts
of the logits are added up by an all-reduce (Shoeybi et al., "Megatron-LM", 2019). Data ranks share out the batch, and
their gradients are added up by another one. Both sums are exact but for the order of additions, so the curve of losses
is that of one process to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from demos._lib.cases import corpus
from demos._lib.digits import softmax
from primitives.collectives.all_reduce import all_reduce

Array = NDArray[np.float64]
Weights = dict[str, Array]

CHARACTERS = "abcdefghijklmnopqrstuvwxyz .,()_"
V, CONTEXT, BATCH = len(CHARACTERS), 6, 96
_RATE, _MOMENTUM = 0.5, 0.9


def text(documents: int = 400) -> NDArray[np.int64]:
    """The standard library's documentation as character numbers; a run of other characters becomes one space."""
    plain = "".join(c if c in CHARACTERS else " " for one in corpus.load(documents) for c in one.text.lower() + " ")
    return np.array([CHARACTERS.index(c) for c in " ".join(plain.split())])


def batch(data: NDArray[np.int64], step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The contexts and next characters of a step, the same for every kind of training."""
    at, places = _places(len(data) - CONTEXT, step)
    return data[places], data[at + CONTEXT]


@lru_cache(maxsize=4096)  # every rank of a step, and every network on which it is timed, draws the same
def _places(most: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the contexts of a step begin, and where each of their characters is."""
    at = np.random.default_rng((1, step)).integers(most, size=BATCH)
    at.flags.writeable = False
    places = at[:, None] + np.arange(CONTEXT)
    places.flags.writeable = False
    return at, places


def begin(hidden: int, seed: int = 0) -> Weights:
    """The whole model before its first step, with the velocities of momentum."""
    draw = np.random.default_rng(seed)
    made = {
        "w1": draw.standard_normal((CONTEXT * V, hidden)) / np.sqrt(CONTEXT),
        "w2": draw.standard_normal((hidden, V)) / np.sqrt(hidden),
        "b2": np.zeros(V),
    }
    return made | {f"v_{name}": np.zeros_like(value) for name, value in made.items()}


_AXIS = {"w1": 1, "w2": 0}  # along which hidden units lie


def part(whole: Weights, place: int, parts: int) -> Weights:
    """The shard of a tensor rank: its hidden units, and a copy of the layers without hidden units."""

    def cut(name: str, value: Array) -> Array:
        axis = _AXIS.get(name.removeprefix("v_"))
        return value.copy() if axis is None else np.array_split(value, parts, axis)[place].copy()

    return {name: cut(name, value) for name, value in whole.items()}


def joined(shards: list[Weights]) -> Weights:
    """The whole model, for a checkpoint, from the shards of all tensor ranks in order."""

    def join(name: str) -> Array:
        axis = _AXIS.get(name.removeprefix("v_"))
        return shards[0][name].copy() if axis is None else np.concatenate([one[name] for one in shards], axis)

    return {name: join(name) for name in shards[0]}


@dataclass
class Grid:
    """A rank's position among data x tensor ranks, and the communicators of its row and column; None: a single rank."""

    data_place: int = 0
    data: int = 1
    tensor_place: int = 0
    tensor: int = 1
    data_comm: MPI.Intracomm | None = None
    tensor_comm: MPI.Intracomm | None = None

    @classmethod
    def on(cls, comm: MPI.Intracomm, tensor: int) -> Grid:
        """Arrange the ranks of `comm`, a multiple of `tensor`, with neighbours as tensor ranks; collective."""
        rank, size = comm.Get_rank(), comm.Get_size()
        d, t = divmod(rank, tensor)
        row: Any = comm.Split(d, t) if tensor < size else comm
        column: Any = comm.Split(t, d) if tensor < size else None
        return cls(d, size // tensor, t, tensor, column, row)

    def summed(self, comm: MPI.Intracomm | None, value: Array) -> Array:
        """The sum over a row or a column."""
        return value if comm is None or comm.Get_size() == 1 else all_reduce(comm, value, algorithm="ring")


def step(grid: Grid, shard: Weights, data: NDArray[np.int64], number: int) -> float:
    """Do one step of training in place; returns the loss of the whole batch before it; collective over the grid."""
    contexts, wanted = (rows[grid.data_place :: grid.data] for rows in batch(data, number))
    seen = np.zeros((len(wanted), CONTEXT * V))
    seen[np.arange(len(wanted))[:, None], contexts + np.arange(CONTEXT) * V] = 1.0
    hidden = np.tanh(seen @ shard["w1"])
    logits = grid.summed(grid.tensor_comm, hidden @ shard["w2"]) + shard["b2"]
    chances = softmax(logits)
    loss = -np.log(chances[np.arange(len(wanted)), wanted]).sum() / BATCH
    chances[np.arange(len(wanted)), wanted] -= 1.0
    slope = chances / BATCH
    inner = (slope @ shard["w2"].T) * (1 - hidden**2)
    slopes = {"w1": seen.T @ inner, "w2": hidden.T @ slope, "b2": slope.sum(axis=0)}
    flat = np.concatenate([*(one.reshape(-1) for one in slopes.values()), [loss]])
    flat = grid.summed(grid.data_comm, flat)
    at = 0
    for name, one in slopes.items():
        velocity, change = shard[f"v_{name}"], flat[at : at + one.size].reshape(one.shape)
        velocity *= _MOMENTUM
        velocity += change
        shard[name] -= _RATE * (1 - _MOMENTUM) * velocity
        at += one.size
    return float(flat[-1])


def losses_alone(data: NDArray[np.int64], hidden: int, steps: int) -> tuple[list[float], Weights]:
    """The oracle: train in one process; returns the losses and the model."""
    whole, grid = begin(hidden), Grid()
    return [step(grid, whole, data, number) for number in range(steps)], whole


def chances(whole: Weights, context: Any) -> Array:
    """The probability of each next character after a context."""
    rows = np.asarray(context) + np.arange(CONTEXT) * V
    found: Array = softmax(np.tanh(whole["w1"][rows].sum(axis=0)) @ whole["w2"] + whole["b2"])
    return found


def draft(whole: Weights, prompt: str, length: int, variant: int) -> str:
    """Continue a prompt of at least 6 characters; each variant draws other characters, always the same ones."""
    numbers, draw = [CHARACTERS.index(c) for c in prompt], np.random.default_rng((2, variant, len(prompt)))
    for _ in range(length):
        below = np.cumsum(chances(whole, numbers[-CONTEXT:]) ** 2)  # squared: bolder, and still varied
        numbers.append(int(np.searchsorted(below, draw.random() * below[-1])))
    return "".join(CHARACTERS[number] for number in numbers)


def likelihood(whole: Weights, said: str) -> float:
    """Mean log-likelihood of the characters after the first 6."""
    numbers = [CHARACTERS.index(c) for c in said]
    found = [np.log(chances(whole, numbers[at - CONTEXT : at])[numbers[at]]) for at in range(CONTEXT, len(numbers))]
    return float(np.mean(found))
