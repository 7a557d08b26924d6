"""Python's own documentation strings as a click-through-like task: sparse tokens, a yes-or-no label.

The question is whether a documentation string belongs to a method of a class (1) or to a function of a
module (0). Tokens are words and pairs of neighbouring words, hashed into the rows of an embedding table.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import zlib
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from primitives.parameter_server.placement import mix

_WORD = re.compile(r"[a-z]+")
_MOST_TOKENS = 40


class Example(NamedTuple):
    """One documentation string: rows of its tokens (sorted, distinct) and the label."""

    rows: NDArray[np.int64]
    label: float


def load(rows: int, most: int) -> list[Example]:
    """Up to `most` examples of each label from the standard library's sources, in a fixed shuffled order."""
    found: dict[float, list[Example]] = {0.0: [], 1.0: []}
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for text, label in _docstrings(path):
            if len(found[label]) < most and (tokens := _tokens(text, rows)).size:
                found[label].append(Example(tokens, label))
        if all(len(examples) >= most for examples in found.values()):
            break
    examples = found[0.0] + found[1.0]
    return [examples[i] for i in np.random.default_rng(0).permutation(len(examples))]


def _docstrings(path: Path) -> list[tuple[str, float]]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return []
    texts = []
    for node in tree.body:
        members, label = (node.body, 1.0) if isinstance(node, ast.ClassDef) else ([node], 0.0)
        for member in members:
            if isinstance(member, ast.FunctionDef) and (text := ast.get_docstring(member)):
                texts.append((text, label))
    return texts


def _tokens(text: str, rows: int) -> NDArray[np.int64]:
    words = _WORD.findall(text.lower())[:_MOST_TOKENS]
    marks = words + [f"{a} {b}" for a, b in pairwise(words)]
    codes = np.array([zlib.crc32(mark.encode()) for mark in marks], np.int64)
    return np.unique((mix(codes) % np.uint64(rows)).astype(np.int64))
