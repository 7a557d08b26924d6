"""Workers that are slower than others, or never answer: how a demo declares their compute."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import emulator

LOST = math.inf
"""The factor of a worker that never answers."""


def in_parts(comm: Any, seconds: float, parts: int, factor: float = 1.0) -> Iterator[None]:
    """Declare a task's compute, `factor` times `seconds`, in equal parts after each of which it can be cancelled.

    A task whose factor is `LOST` goes on until it is cancelled, in parts of a worker's that is not slow.
    """
    done = 0
    while done < parts or factor == LOST:
        emulator.compute(comm, seconds / parts * (1.0 if factor == LOST else factor))
        done += 1
        yield
