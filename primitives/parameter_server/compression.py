"""Fewer bytes for a push: half precision, or only the largest rows of a dense gradient.

    fp16          float16 on the wire, in pulls too; servers keep the table's type. 2 bytes instead of 4 or 8, with a
                  relative error of 2^-11; finite values are clamped to +-65504, not rounded to infinity.
    topk:SHARE    the SHARE of rows with the largest entry, as a sparse push (4 bytes of key each). What is left is
                  kept and added to the next gradient (error feedback), so that nothing is lost, only late:
                  sum(sent) + residual == sum(gradients) after every push. Pulls stay whole.

Seide et al., "1-Bit Stochastic Gradient Descent" (2014) for error feedback; Lin et al., "Deep Gradient Compression"
(2018); Karimireddy et al. (2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError

Array = NDArray[Any]
_HALF_MAX = float(np.finfo(np.float16).max)


class Compression:
    """What a worker sends of its gradients; this base class sends everything.

    Attributes
    ----------
    half : whether values travel as float16
    sparse : whether `select` leaves rows out
    """

    half = sparse = False

    def select(self, table: int, gradient: Array) -> tuple[NDArray[np.int64] | None, Array]:
        """Select what to send of a dense gradient: keys and their rows, or None and the whole gradient."""
        return None, gradient


class Half(Compression):
    """Compression that sends values as float16."""

    half = True


class TopK(Compression):
    """Compression to the `share` (0, 1] of rows with the largest entries, with error feedback by table (`residual`)."""

    sparse = True

    def __init__(self, share: float) -> None:
        if not 0 < share <= 1:
            raise UsageError(f"top-k share must lie in (0, 1], got {share}: 0.01 sends one row of a hundred")
        self.share = share
        self.residual: dict[int, Array] = {}

    def select(self, table: int, gradient: Array) -> tuple[NDArray[np.int64] | None, Array]:
        if not np.isfinite(gradient).all():
            return None, gradient  # the servers refuse it; in the residual it would spoil every later push
        total = self.residual.get(table, 0) + gradient
        size = np.abs(total) if total.ndim == 1 else np.abs(total).max(axis=1)
        count = max(1, round(self.share * len(size)))
        chosen = np.sort(np.argpartition(size, len(size) - count)[len(size) - count :])
        rows = total[chosen]
        total[chosen] = 0
        self.residual[table] = total
        return chosen, rows


def to_half(values: Array) -> NDArray[np.float16]:
    """Round to float16; finite values are clamped to its range, infinity and NaN stay as they are."""
    return np.where(np.isfinite(values), np.clip(values, -_HALF_MAX, _HALF_MAX), values).astype(np.float16)


def parse(text: str) -> Compression:
    """Make a compression from ``"none"``, ``"fp16"`` or ``"topk:SHARE"``."""
    if text in ("none", "fp16"):
        return Half() if text == "fp16" else Compression()
    kind, _, share = text.partition(":")
    try:
        number = float(share) if kind == "topk" else None
    except ValueError:
        number = None
    if number is None:
        raise UsageError(f"compression must be none, fp16 or topk:SHARE, got {text!r}: topk:0.01")
    return TopK(number)
