"""Python's own documentation strings as a click-through-like task: sparse tokens, a yes-or-no label.

The question is whether a documentation string belongs to a method of a class (1) or to a function (0). Tokens are
words and pairs of neighbouring words, hashed into the rows of an embedding table.
"""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demos._lib import corpus
from primitives.parameter_server.placement import mix

_WORD = re.compile(r"[a-z]+")
_MOST_TOKENS = 40


class Example(NamedTuple):
    """One documentation string: rows of its tokens (sorted, distinct) and the label."""

    rows: NDArray[np.int64]
    label: float


def load(rows: int, most: int) -> list[Example]:
    """Up to `most` examples of each label from the standard library's sources, in a fixed shuffled order."""
    found: dict[str, list[Example]] = {"Function": [], "Method": []}
    for document in corpus.documents():
        of = found.get(document.kind, [])
        if document.kind in found and len(of) < most and (tokens := _tokens(document.text, rows)).size:
            of.append(Example(tokens, float(document.kind == "Method")))
        if all(len(examples) >= most for examples in found.values()):
            break
    examples = found["Function"] + found["Method"]
    return [examples[i] for i in np.random.default_rng(0).permutation(len(examples))]


def _tokens(text: str, rows: int) -> NDArray[np.int64]:
    words = _WORD.findall(text.lower())[:_MOST_TOKENS]
    marks = words + [f"{a} {b}" for a, b in pairwise(words)]
    codes = np.array([zlib.crc32(mark.encode()) for mark in marks], np.int64)
    return np.unique((mix(codes) % np.uint64(rows)).astype(np.int64))
