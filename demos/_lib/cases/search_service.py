"""A search service: shards of a collection on worker ranks, with replicas, queried by rank 0 through scatter-gather.

A question goes to a replica of every shard, and their best passages are merged. New passages reach a replica with a
later question to it, so that they become visible eventually. When a worker is lost, others index its shards anew from
their passages.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from demos._lib.cases import corpus, retrieval
from demos._lib.cases.retrieval import Index, Passage, Query
from demos._lib.stragglers import in_parts
from emulator.errors import UsageError, on_root
from primitives.scatter_gather import Answer, Coordinator, Shards, ask_shards, coordinator

BEST = 10  # passages of an answer
REPLICAS = 2
SLICES = 8  # points in a search at which it can be cancelled
QUESTIONS = 60
FEWEST = 200  # passages of a collection: fewer have too few words for the vectors
PACKAGES = ("numpy", "sklearn")


@dataclass
class Library:
    """The collection. The driver has all passages and distributes them; the others have the counts over them."""

    shared: retrieval.Statistics
    passages: list[Passage]
    questions: list[str]
    sources: list[int]  # the passage of which a question has words

    def of_shard(self, placement: Shards, shard: int) -> list[Passage]:
        """The passages of a shard, by a hash of their numbers."""
        return [one for one in self.passages if placement.shard_of(one.number) == shard]

    def deal(self, control: MPI.Intracomm, placement: Shards) -> dict[int, Index]:
        """Send every rank the passages of its shards, and index them there; collective."""
        parts: list[Any] | None = None
        if control.Get_rank() == 0:
            numbered: dict[Hashable, Passage] = {one.number: one for one in self.passages}
            shelves = [[numbered[number] for number in part] for part in placement.split(numbered)]
            parts = [{shard: shelves[shard] for shard in placement.held_by(rank)} for rank in range(control.Get_size())]
        return {shard: Index(self.shared, held) for shard, held in control.scatter(parts).items()}


def collect(control: MPI.Intracomm, packages: Sequence[str] = PACKAGES) -> Library:
    """Read the passages, a share of the files on each rank, and count over all on rank 0; collective."""
    retrieval.need_scipy()
    parts = control.gather(retrieval.passages(corpus.of_packages(packages, control.Get_rank(), control.Get_size())))
    texts = sorted({one for part in parts or () for one in part})
    held = [Passage(number, *one) for number, one in enumerate(texts)]

    def count() -> Any:
        if len(held) < FEWEST:
            raise UsageError(f"a collection needs at least {FEWEST} passages, got {len(held)} in the documentation of "
                             f"{', '.join(packages)}: name larger packages")  # fmt: skip
        draw = np.random.default_rng(0)  # a question: some words of a passage, in another order
        sources = draw.choice(len(held), QUESTIONS, replace=False).tolist()
        words = [draw.permutation(corpus.words(held[number].text))[:6] for number in sources]
        return retrieval.statistics([one.text for one in held]), [" ".join(one) for one in words], sources

    shared, questions, sources = on_root(control, count)
    return Library(shared, held, questions, sources)


class Places(Shards):
    """The workers of the replicas: two for each shard, and after a loss whichever worker took it over."""

    def __init__(self, shards: int, workers: Sequence[int], replicas: int = REPLICAS) -> None:
        super().__init__(shards, workers, min(replicas, len(workers)))
        self.now = [list(super(Places, self).replicas_of(shard)) for shard in range(shards)]
        self.living = set(workers)

    def replicas_of(self, shard: int) -> tuple[int, ...]:
        return tuple(self.now[shard])

    def lose(self, rank: int) -> list[tuple[int, int]]:
        """Remove a worker; returns (shard, worker) of the replicas to rebuild, on the workers with the fewest."""
        self.living.discard(rank)
        moves = []
        for shard, ranks in enumerate(self.now):
            if rank not in ranks:
                continue
            ranks.remove(rank)
            able = sorted(self.living - set(ranks), key=lambda worker: (self._load(worker), worker))
            if able:
                moves.append((shard, able[0]))
                ranks.append(able[0])
        return moves

    def _load(self, worker: int) -> int:
        return sum(worker in ranks for ranks in self.now)


@dataclass
class Late:
    """Delays until new passages are visible.

    Attributes
    ----------
    seconds : for each new passage, from its publication to the answer after which all replicas have it
    stale : answers for which a replica was asked that lacked some of them, of all `answers`
    """

    seconds: dict[int, float] = field(default_factory=dict)
    stale: int = 0
    answers: int = 0


@dataclass
class Service:
    """A job that answers questions: the driver asks, workers search their shards.

    Attributes
    ----------
    seconds : declared computing of a search, for each question (row) and shard (column)
    factors : how many times longer a worker takes than others; `stragglers.LOST`: it never answers
    """

    comm: MPI.Intracomm
    library: Library
    places: Places
    held: dict[int, Index]
    seconds: np.ndarray
    factors: dict[int, float] = field(default_factory=dict)
    at_search: Any = None  # called on a worker with the number of the question
    asked: int = 0

    @contextmanager
    def open(self, **options: Any) -> Iterator[Coordinator | None]:
        """Start the coordinator on rank 0 while the workers serve; collective."""
        with coordinator(self.comm, self._work, batch=1, prefetch=0, **options) as pool:
            yield pool

    def _work(self, task: tuple[int, Any]) -> Generator[None, None, Any]:
        """Serve as a worker: search, or first index new passages or a whole shard."""
        shard, (number, query, news) = task
        if self.at_search is not None and number >= 0:
            self.at_search(number)
        if query is None:
            self.held[shard] = Index(self.library.shared, news)
            return len(news)
        seconds = self.seconds[number % len(self.seconds), shard]
        yield from in_parts(self.comm, seconds, SLICES, self.factors.get(self.comm.Get_rank(), 1.0))
        self.held[shard].add(news)
        return self.held[shard].search(query, BEST)

    def ask(self, pool: Coordinator, query: Query, **options: Any) -> tuple[list[int], Answer]:
        """Ask all shards; returns the best passages and the shards' answers."""
        found = ask_shards(pool, self.places, (self.asked, query, []), **options)
        self.asked += 1
        return retrieval.fuse(retrieval.merge(found.present().values(), BEST), BEST), found

    def replace(self, pool: Coordinator, rank: int) -> int:
        """Let other workers index a lost worker's shards from their passages; returns the number of passages."""
        moves = self.places.lose(rank)
        tasks = [(shard, (-1, None, self.library.of_shard(self.places, shard))) for shard, _ in moves]
        return sum(pool.ask(tasks, where=[(worker,) for _, worker in moves]).values()) if moves else 0

    def publish(self, pool: Coordinator, fresh: Sequence[Passage], batches: int = 12, every: int = 3) -> Late:
        """Answer questions while passages appear, a batch before each of the first questions.

        A question goes to one replica of each shard, to all of them in turn; every `every`-th brings a replica the
        passages that it has not seen.
        """
        places, began = self.places, {}
        owed: dict[tuple[int, int], list[Passage]] = {
            (shard, rank): [] for shard in range(places.shards) for rank in places.replicas_of(shard)
        }
        queries = [self.library.shared.query(one) for one in self.library.questions]
        seen = Late()
        while seen.answers < batches or any(owed.values()):
            for one in fresh[seen.answers :: batches] if seen.answers < batches else ():
                began[one.number] = emulator.now(self.comm)
                for rank in places.replicas_of(places.shard_of(one.number)):
                    owed[places.shard_of(one.number), rank].append(one)
            turn = [places.replicas_of(shard)[seen.answers % len(places.replicas_of(shard))]
                    for shard in range(places.shards)]  # fmt: skip
            brings = seen.answers % every == every - 1
            given = [owed[shard, rank] if brings else [] for shard, rank in enumerate(turn)]
            seen.stale += not brings and any(owed[shard, rank] for shard, rank in enumerate(turn))
            query = queries[seen.answers % len(queries)]
            tasks = [(shard, (self.asked, query, news)) for shard, news in enumerate(given)]
            pool.ask(tasks, where=[(rank,) for rank in turn]).values()
            if brings:
                owed |= {place: [] for place in enumerate(turn)}
                now = emulator.now(self.comm)
                seen.seconds |= {one.number: now - began[one.number] for news in given for one in news}
            self.asked += 1
            seen.answers += 1
        return seen
