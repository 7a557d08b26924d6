"""Web-scale retrieval as a case study: which passages answer a question, from an index that is sharded over workers.

    mpirun -n 8 python -m demos.cases.rag --net cloud-zone

The passages are paragraphs of the documentation strings of installed packages. Rank 0 drives: it turns a question into
numbers, asks every shard, and merges the shards' best by words (BM25) and by vectors (TF-IDF and SVD) into one list.
The other ranks hold the shards, each with a replica on the next rank, and answer by scatter-gather.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from demos._lib import case, corpus, retrieval, screen
from emulator.design.sheet import Sheet
from emulator.run.options import demo
from emulator.run.session import Run
from primitives.scatter_gather import Shards, ask_shards, coordinator

RANKS = 3  # the driver and two workers, so that a shard has a replica elsewhere
BEST = 10  # passages of an answer
SLICES = 8  # points in a search at which it can be cancelled
PACKAGES = ("numpy", "sklearn")


@dataclass
class Library:
    """What every rank knows of the collection; `passages` are on rank 0 only, which shares them out."""

    shared: retrieval.Statistics
    passages: list[retrieval.Passage]
    questions: list[str]

    def deal(self, control: MPI.Intracomm, placement: Shards) -> dict[int, retrieval.Index]:
        """Send every rank the passages of its shards, and index them there; collective."""
        parts: list[list[retrieval.Passage]] = [[] for _ in range(placement.shards)]
        for one in self.passages:
            parts[placement.shard_of(one.number)].append(one)
        held = [{shard: parts[shard] for shard in placement.held_by(rank)} for rank in range(control.Get_size())]
        mine = control.scatter(held if control.Get_rank() == 0 else None)
        return {shard: retrieval.Index(self.shared, part) for shard, part in mine.items()}


def collect(control: MPI.Intracomm, packages: tuple[str, ...] = PACKAGES) -> Library:
    """Read the passages, a share of the files on each rank, and count over all of them on rank 0; collective."""
    mine = retrieval.passages(corpus.of_packages(packages, control.Get_rank(), control.Get_size()))
    parts = control.gather(mine)
    held: list[retrieval.Passage] = []
    made: Any = None
    if parts is not None:
        texts = sorted({one for part in parts for one in part})
        held = [retrieval.Passage(number, *one) for number, one in enumerate(texts)]
        # Words of a passage in another order: a question that this passage answers.
        draw = np.random.default_rng(0)
        sources = draw.choice(len(held), 60, replace=False)
        words = [corpus.words(held[number].text) for number in sources]
        made = retrieval.statistics([one.text for one in held]), [" ".join(draw.permutation(w)[:6]) for w in words]
    shared, questions = control.bcast(made)
    return Library(shared, held, questions)


def scaled(sheet: Sheet, ranks: int) -> Sheet:
    """A query over as many workers as there are; a worker searches for as long as one of the sheet's nodes."""
    query = retrieval.Query(np.zeros(6, np.int32), np.zeros(retrieval.DIMENSIONS, np.int8))
    hits = (np.zeros(BEST, np.float32), np.zeros(BEST, np.int64))
    sizes = {"request_bytes": len(pickle.dumps(query)), "answer_bytes": len(pickle.dumps((hits, hits)))}
    return case.cut(sheet, ranks - 1, query=sizes)


def data(control: MPI.Intracomm, sheet: Sheet) -> tuple[Library, dict[int, retrieval.Index]]:
    """The collection, and this rank's shard of it."""
    library = collect(control)
    return library, library.deal(control, Shards(control.Get_size() - 1, range(1, control.Get_size())))


def timed(comm: MPI.Intracomm, sheet: Sheet, data: Any, steps: case.Steps) -> case.Ends:
    """Ask a question in each step, and merge what the shards answer."""
    library, held = data
    workers = comm.Get_size() - 1
    placement = Shards(workers, range(1, workers + 1))
    seconds = sheet.job.t_comp / workers * steps.factors(workers)
    queries = [library.shared.query(one) for one in library.questions]
    ends: case.Ends = []

    def look(task: tuple[int, tuple[int, retrieval.Query]]) -> Any:
        shard, (step, query) = task
        emulator.compute(comm, seconds[step, shard])
        return held[shard].search(query, BEST)

    with coordinator(comm, look, batch=1) as pool:
        for step in range(steps.count):
            if pool is None:
                break
            found = ask_shards(pool, placement, (step, queries[step % len(queries)]))
            retrieval.fuse(retrieval.merge(found.values(), BEST), BEST)
            ends.append(emulator.now(comm))
    return ends


@demo("cases.rag", needs=RANKS)
def main(run: Run) -> None:
    screen.terms(run, case.compare(run, sys.modules[__name__], case.sheet_beside(__file__)))


if __name__ == "__main__":
    main()
