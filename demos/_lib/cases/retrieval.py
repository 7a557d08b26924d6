"""Hybrid retrieval: the best passages for a question by their words (BM25) and by their meaning (vectors).

A passage's score must not depend on the shard that holds it, so that the best of all shards' best are exactly the best
of one index. So what is counted over all passages (`Statistics`) is shared, a word's weight is added up in the
passage's own order, and vectors are rounded to whole numbers up to 127: their products are exact in any order of sums.

Sources: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009); Deerwester et al.,
"Indexing by Latent Semantic Analysis" (1990); Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion" (SIGIR 2009).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from demos._lib.cases import corpus
from emulator.errors import UsageError

Array = NDArray[np.float32]
Hits = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Scores and numbers of passages, best first; equal scores by number."""

DIMENSIONS = 48
_K1, _B = 1.2, 0.75  # of BM25, as Robertson and Zaragoza suggest
_LARGEST = 127  # of a vector's elements
_SAMPLE = 6000  # passages from which the directions of the vectors are found
_RANK_OFFSET = 60  # of the fusion


class Passage(NamedTuple):
    """A paragraph of documentation: its number, its object's name, its text."""

    number: int
    name: str
    text: str


class Query(NamedTuple):
    """A question as numbers: the columns of its known words, and its integer vector."""

    columns: NDArray[np.int32]
    vector: NDArray[np.int8]


@dataclass(frozen=True)
class Statistics:
    """Counts over all passages.

    Attributes
    ----------
    columns : the column of every word that occurs in two passages or more
    rarity : BM25's inverse document frequency of each column
    length : mean number of words of a passage
    directions : (columns, DIMENSIONS): from weighted words to the vector
    """

    columns: dict[str, int]
    rarity: Array
    length: float
    directions: Array

    def query(self, question: str) -> Query:
        """Convert a question to numbers; without columns if no passage has any of its words."""
        known = sorted({self.columns[word] for word in corpus.words(question) if word in self.columns})
        found = np.array(known, np.int32)
        return Query(found, _whole(self.directions[found].T @ self.rarity[found] if known else np.zeros(DIMENSIONS)))


def passages(documents: Iterable[corpus.Document], fewest: int = 8) -> list[tuple[str, str]]:
    """Paragraphs of at least `fewest` words, with their names."""
    return [(document.name, " ".join(part.split())) for document in documents for part in document.text.split("\n\n")
            if len(part.split()) >= fewest]  # fmt: skip


def need_scipy() -> None:
    """Raise a UsageError if SciPy is not installed, before a collection is read in vain."""
    if importlib.util.find_spec("scipy") is None:
        raise UsageError("retrieval needs SciPy, which is not installed: pip install 'cluster-emulator[cases]'")


def statistics(texts: Sequence[str]) -> Statistics:
    """Count over all passages, and find directions by a truncated SVD of a sample's weighted words."""
    numbers: dict[str, int] = {}
    words = [[numbers.setdefault(word, len(numbers)) for word in corpus.words(text)] for text in texts]
    counts = _matrix(words, len(numbers))
    having = np.bincount(counts.indices, minlength=len(numbers))
    kept = sorted(word for word, number in numbers.items() if having[number] > 1)
    chosen = np.array([numbers[word] for word in kept])
    often = having[chosen]
    rarity = np.log1p((len(texts) - often + 0.5) / (often + 0.5)).astype(np.float32)
    sample = counts[:: max(1, len(texts) // _SAMPLE)][:, chosen]
    length = sum(map(len, words)) / max(1, len(texts))
    return Statistics({word: place for place, word in enumerate(kept)}, rarity, length,
                      _directions(sample.multiply(rarity).tocsr()))  # fmt: skip


def _directions(weighted: Any) -> Array:
    from scipy.sparse import linalg

    weighted.data = np.log1p(weighted.data)
    _, strengths, rows = linalg.svds(weighted.astype(np.float64), DIMENSIONS, v0=np.ones(min(weighted.shape)), tol=1e-2)
    found: Array = rows[np.argsort(-strengths)].T.astype(np.float32)
    return found


def _matrix(words: Sequence[Sequence[int]], columns: int) -> Any:
    """Words of each passage (row) by column, as a sparse matrix; a row's words in order of columns."""
    from scipy import sparse

    lengths = np.fromiter(map(len, words), np.int64, len(words))
    places = np.fromiter(chain.from_iterable(words), np.int32, int(lengths.sum()))
    made = sparse.csr_matrix((np.ones(len(places), np.float32), places, np.append(0, np.cumsum(lengths))),
                             shape=(len(words), columns))  # fmt: skip
    made.sum_duplicates()
    return made


class Index:
    """The passages of a shard, or all: BM25 weights and vectors.

    Parameters
    ----------
    shared : counts over all passages, the same in every shard
    """

    def __init__(self, shared: Statistics, held: Sequence[Passage]) -> None:
        self.shared = shared
        self.numbers = np.zeros(0, np.int64)
        self.weights: Any = _matrix([], len(shared.columns))
        self.vectors = np.zeros((0, DIMENSIONS), np.float32)
        self.add(held)

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, held: Sequence[Passage]) -> None:
        """Add further passages, which the next search finds."""
        from scipy import sparse

        if not held:
            return
        words, shared, column = [corpus.words(one.text) for one in held], self.shared, self.shared.columns.get
        known = [[place for word in those if (place := column(word)) is not None] for those in words]
        counts = _matrix(known, len(shared.columns))
        lengths = np.fromiter(map(len, words), np.float32, len(words))
        of_row = np.repeat(lengths, np.diff(counts.indptr))
        norm = _K1 * (1 - _B + _B * of_row / shared.length)
        weights = counts.copy()
        saturated = counts.data * (_K1 + 1) / (counts.data + norm)
        weights.data = (shared.rarity[counts.indices] * saturated).astype(np.float32)
        counts.data = np.log1p(counts.data * shared.rarity[counts.indices])
        self.vectors = np.vstack([self.vectors, _whole(counts @ shared.directions).astype(np.float32)])
        self.weights = sparse.vstack([self.weights, weights], format="csr")
        self.numbers = np.append(self.numbers, [one.number for one in held])

    def search(self, query: Query, most: int) -> tuple[Hits, Hits]:
        """The best passages by words and by vectors, of those with a score above 0."""
        asked = np.zeros(self.weights.shape[1], np.float32)
        asked[query.columns] = 1.0
        return (self._best(self.weights @ asked, most),
                self._best(self.vectors @ query.vector.astype(np.float32), most))  # fmt: skip

    def _best(self, scores: Array, most: int) -> Hits:
        return best(scores, self.numbers, most)


def _whole(vectors: Any) -> NDArray[np.int8]:
    """Vectors scaled to length 127 and rounded."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    whole: NDArray[np.int8] = np.rint(_LARGEST * vectors / np.maximum(length, 1e-12)).astype(np.int8)
    return whole


def best(scores: Array, numbers: NDArray[np.int64], most: int) -> Hits:
    """The `most` highest scores above 0; equal ones in the order of numbers."""
    if len(scores) > 4 * most:
        edge = np.partition(scores, -most)[-most]
        keep = np.flatnonzero(scores >= edge)
        scores, numbers = scores[keep], numbers[keep]
    order = np.lexsort((numbers, -scores))[:most]
    order = order[scores[order] > 0]
    return scores[order].astype(np.float32), numbers[order]


def merge(parts: Iterable[tuple[Hits, Hits]], most: int) -> tuple[Hits, Hits]:
    """The best passages of the shards' best, by words and by vectors."""
    pairs = list(parts)
    return _merged([words for words, _ in pairs], most), _merged([vectors for _, vectors in pairs], most)


def _merged(found: Sequence[Hits], most: int) -> Hits:
    scores = np.concatenate([np.zeros(0, np.float32), *(one for one, _ in found)])
    return best(scores, np.concatenate([np.zeros(0, np.int64), *(one for _, one in found)]), most)


def fuse(found: tuple[Hits, Hits], most: int) -> list[int]:
    """Numbers of the best passages by both rankings: each adds 1 / (60 + place) (reciprocal rank fusion)."""
    score: dict[int, float] = {}
    for _, numbers in found:
        for place, number in enumerate(numbers.tolist()):
            score[number] = score.get(number, 0.0) + 1 / (_RANK_OFFSET + place)
    return sorted(score, key=lambda number: (-score[number], number))[:most]
