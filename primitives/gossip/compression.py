"""Compressors for gossip: Q(x) with E ||x - Q(x)||^2 <= (1 - omega) ||x||^2.

    TopK(share)       the largest entries, with their indices    (4 + 8) k bytes    omega = k / n
    RandomK(share)    random entries, the seed names which       8 k + 8 bytes      omega = k / n  (in expectation)
    ScaledSign()      signs times the mean |entry|               n / 8 + 8 bytes    omega = ||x||_1^2 / (n ||x||^2)

omega in (0, 1] is the quality: 1 sends everything. Messages have a fixed length, so a receiver can post its buffer.

Sources: Stich, Cordonnier and Jaggi, "Sparsified SGD with memory" (2018); Bernstein et al., signSGD (2018);
Karimireddy et al., "Error feedback fixes SignSGD" (2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError

Vector = NDArray[np.float64]
Wire = NDArray[np.uint8]


class Compressor(Protocol):
    """What Choco needs of a compressor."""

    def omega(self, n: int) -> float:
        """Guaranteed quality for vectors of length n."""

    def nbytes(self, n: int) -> int:
        """Bytes of one message for a vector of length n."""

    def encode(self, x: Vector, draw: int) -> Wire:
        """Compress a vector; `draw` is a number that differs from message to message."""

    def decode(self, wire: Wire, n: int) -> Vector:
        """Give Q(x) back as a vector of length n."""


def _kept(share: float, n: int) -> int:
    return min(n, max(1, round(share * n)))


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise UsageError(f"the share of entries that travel lies in (0, 1], got {share}: 0.05 sends one of twenty")


@dataclass(frozen=True)
class TopK:
    """The `share` of entries that are largest in absolute value."""

    share: float

    def __post_init__(self) -> None:
        _check_share(self.share)

    def omega(self, n: int) -> float:
        return _kept(self.share, n) / n

    def nbytes(self, n: int) -> int:
        return 12 * _kept(self.share, n)

    def encode(self, x: Vector, draw: int) -> Wire:
        k = _kept(self.share, len(x))
        chosen = np.argpartition(np.abs(x), len(x) - k)[len(x) - k :].astype(np.int32)
        return np.concatenate([chosen.view(np.uint8), x[chosen].view(np.uint8)])

    def decode(self, wire: Wire, n: int) -> Vector:
        k = _kept(self.share, n)
        x = np.zeros(n)
        x[wire[: 4 * k].view(np.int32)] = np.frombuffer(wire[4 * k :].tobytes())
        return x


@dataclass(frozen=True)
class RandomK:
    """A random `share` of the entries: no indices travel, only the number that they are drawn from."""

    share: float

    def __post_init__(self) -> None:
        _check_share(self.share)

    def omega(self, n: int) -> float:
        return _kept(self.share, n) / n

    def nbytes(self, n: int) -> int:
        return 8 + 8 * _kept(self.share, n)

    def _chosen(self, n: int, draw: int) -> NDArray[np.int64]:
        return np.random.default_rng(draw).choice(n, _kept(self.share, n), replace=False)

    def encode(self, x: Vector, draw: int) -> Wire:
        return np.concatenate([np.array([draw]).view(np.uint8), x[self._chosen(len(x), draw)].view(np.uint8)])

    def decode(self, wire: Wire, n: int) -> Vector:
        x = np.zeros(n)
        x[self._chosen(n, int(wire[:8].view(np.int64)[0]))] = wire[8:].view(np.float64)
        return x


@dataclass(frozen=True)
class ScaledSign:
    """One bit per entry and one scale: mean |x| times the sign. Its guaranteed omega is only 1 / n."""

    def omega(self, n: int) -> float:
        return 1 / n

    def nbytes(self, n: int) -> int:
        return 8 + (n + 7) // 8

    def encode(self, x: Vector, draw: int) -> Wire:
        scale = np.array([np.abs(x).mean()])
        return np.concatenate([scale.view(np.uint8), np.packbits(x >= 0)])

    def decode(self, wire: Wire, n: int) -> Vector:
        scale = wire[:8].view(np.float64)[0]
        return scale * (2.0 * np.unpackbits(wire[8:], count=n) - 1)


def parse(text: str) -> Compressor:
    """Make a compressor from ``"topk:SHARE"``, ``"randk:SHARE"`` or ``"sign"``.

    Raises
    ------
    UsageError
        The text is none of these.
    """
    kind, _, share = text.partition(":")
    if text == "sign":
        return ScaledSign()
    try:
        if kind in ("topk", "randk"):
            return (TopK if kind == "topk" else RandomK)(float(share))
    except UsageError:
        raise
    except ValueError:
        pass
    raise UsageError(f"gossip compression is topk:SHARE, randk:SHARE or sign, got {text!r}: topk:0.05")
