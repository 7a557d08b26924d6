"""What can be drilled, seen from outside MPI: each pattern's policies, roles, data and oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from emulator.errors import UsageError
from faults.job import JobSpec
from faults.training import REDUCTIONS, Training, digest, save_digits

Verdicts = Sequence[dict[str, Any]]
DATA = "digits.npy"
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Blueprint:
    """A pattern that can be drilled.

    Attributes
    ----------
    policies
        The recovery policies it has, the natural one first.
    roles
        Ranks of each role in a job of n.
    prepare
        Puts into the job's folder what the ranks need.
    matches
        The oracle: whether verdicts show the fault-free run's result, and in words.
    """

    name: str
    summary: str
    policies: tuple[str, ...]
    steps: int
    prepare: Callable[[JobSpec, Path], None]
    matches: Callable[[JobSpec, Path, Verdicts], tuple[bool, str]]
    roles: Callable[[int], dict[str, Sequence[int]]] = lambda ranks: {}
    options: dict[str, Any] = field(default_factory=dict)


def _prepare_training(spec: JobSpec, folder: Path) -> None:
    save_digits(folder / DATA)


@lru_cache(maxsize=16)
def _alone(data: bytes, steps: int, seed: int, shards: int, reduction: str) -> tuple[str, tuple[float, ...]]:
    training = Training(np.frombuffer(data).reshape(-1, 65), shards=shards, seed=seed)
    state, losses = training.alone(steps, reduction)
    return digest(state | {"losses": np.array(losses)}), tuple(losses)


def _same_training(spec: JobSpec, folder: Path, verdicts: Verdicts) -> tuple[bool, str]:
    reduction = spec.options["reduction"]
    data = np.load(folder / DATA).tobytes()
    expected, losses = _alone(data, spec.steps, spec.seed, spec.options["shards"], reduction)
    working = [v for v in verdicts if v["place"] is not None]
    if wrong := sum(v["wrong"] for v in working):
        return False, f"{wrong} elements of the ballast were summed wrongly"
    if all(v["digest"] == expected for v in working):
        return True, f"loss {losses[-1]:.4f}, bit-equal to the fault-free run on {len(working)} ranks"
    off = max(float(np.abs(np.subtract(v["losses"], losses)).max()) for v in working)
    if reduction == "plain" and off < _ROUNDING:
        return True, f"loss {losses[-1]:.4f}, equal to the fault-free run to {off:.0e}"
    return False, f"the loss curve is off by up to {off:.2g}"


CATALOGUE = {
    "ring": Blueprint(
        "ring",
        "data-parallel training over a ring all-reduce",
        ("shrink", "spare", "respawn", "restart"),
        steps=40,
        prepare=_prepare_training,
        matches=_same_training,
        options={"reduction": REDUCTIONS[0], "shards": 32, "ballast": 0},
    ),
}


def blueprint(pattern: str, policy: str) -> Blueprint:
    """The pattern of that name, which must have the policy.

    Raises
    ------
    UsageError
        No such pattern, or it does not have the policy.
    """
    if pattern not in CATALOGUE:
        raise UsageError(f"a pattern is one of {', '.join(CATALOGUE)}, got {pattern!r}")
    found = CATALOGUE[pattern]
    if policy not in found.policies:
        raise UsageError(f"{pattern} recovers by {', '.join(found.policies)}, got {policy!r}")
    return found
