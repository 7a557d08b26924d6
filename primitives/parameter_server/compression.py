"""Fewer bytes for a push: half precision, or only the largest entries.

    Half   float16 on the wire, both ways; values are cut at +-65504, not rounded to infinity. 2 bytes instead of
           4 or 8; relative error 2^-11 per value.
    TopK   of a dense gradient only the `share` largest rows travel (as a sparse push, 4 bytes of key each).
           What stays behind is kept and added to the next gradient (error feedback), so that nothing is lost,
           only late: sum(sent) + residual == sum(gradients) at every step.

Seide et al. 2014 (error feedback); Lin et al., "Deep Gradient Compression" (2018); Karimireddy et al. 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError

Array = NDArray[Any]
HALF_MAX = float(np.finfo(np.float16).max)


class Compression:
    """No compression; what a worker asks of any."""

    half = False

    def select(self, table: int, gradient: Array) -> tuple[NDArray[np.int64] | None, Array]:
        """Choose what of a dense gradient travels now: (keys, their rows), or (None, everything)."""
        return None, gradient


class Half(Compression):
    """Values travel as float16."""

    half = True


class TopK(Compression):
    """Only the `share` of rows with the largest norm, with error feedback.

    Parameters
    ----------
    share
        Rows that travel, in (0, 1].
    """

    def __init__(self, share: float) -> None:
        if not 0 < share <= 1:
            raise UsageError(f"top-k share must lie in (0, 1], got {share}: 0.01 sends one row of a hundred")
        self.share = share
        self.residual: dict[int, Array] = {}

    def select(self, table: int, gradient: Array) -> tuple[NDArray[np.int64] | None, Array]:
        kept = self.residual.get(table)
        total = gradient.copy() if kept is None else kept + gradient
        size = np.abs(total) if total.ndim == 1 else np.abs(total).max(axis=1)
        count = max(1, round(self.share * len(size)))
        chosen = np.sort(np.argpartition(size, len(size) - count)[len(size) - count :])
        rows = total[chosen]
        total[chosen] = 0  # NaN counts as largest here: it travels, and is the server's to refuse
        self.residual[table] = total
        return chosen, rows


def to_half(values: Array) -> NDArray[np.float16]:
    """Round to float16, finite values clamped to its range (NaN stays NaN)."""
    return np.clip(values, -HALF_MAX, HALF_MAX).astype(np.float16)


def parse(text: str) -> Compression:
    """Make a compression from ``"none"``, ``"fp16"`` or ``"topk:SHARE"``."""
    if text == "none":
        return Compression()
    if text == "fp16":
        return Half()
    kind, _, share = text.partition(":")
    if kind == "topk":
        try:
            return TopK(float(share))
        except ValueError:
            pass
    raise UsageError(f"compression must be none, fp16 or topk:SHARE, got {text!r}: topk:0.01")
