"""Scatter-gather: one rank asks, the others answer; searches through Python's own documentation strings.

    mpirun -n 16 python -m demos.scatter_gather --net 10gbe

Four parts. The time of scatter and gather, directly and down a tree, beside the closed form. Word counts by chunks,
checked against the one-process count. Uneven tasks handed out in equal blocks, by pull, and by stealing. And a search
over shards with replicas while one worker is slow: waiting for it, asking another replica, or answering with
a quorum at a deadline and saying which shards are missing; every complete answer is checked against one process.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from functools import cache
from typing import Any

import click

import emulator
from demos._lib import scatter_gather_times
from demos._lib.cases import corpus
from demos._lib.formulas import judge
from demos._lib.stragglers import in_parts
from demos._lib.timing import begin_together, live_s
from demos.parameter_server import parse_slow
from emulator import carrier, costs
from emulator.errors import UsageError
from emulator.run.demo_run import Run
from emulator.run.options import SHARE, TIME, demo
from emulator.units import format_time
from primitives.scatter_gather import (
    Answer,
    Deadline,
    Shards,
    ask_shards,
    coordinator,
    map_blocks,
    map_tasks,
    steal_tasks,
)

CHUNK = 40  # documents in a map task
SLICES = 10  # points in a task at which it can be cancelled
BEST = 10  # hits of a search
SECONDS_PER_CHARACTER = 2e-6  # declared cost of an uneven task


@demo("scatter_gather", needs=3, sizes="1K,64K,1M", budget=10.0)
@click.option("--documents", type=click.IntRange(min=100), default=4000, show_default=True, help="Number of documents.")
@click.option("--question", default="send a message to another process", show_default=True, help="What to search for.")
@click.option("--shards", type=click.IntRange(min=1), help="Number of shards; absent: two for each worker.")
@click.option(
    "--replicas", type=click.IntRange(min=1), default=2, show_default=True, help="Number of copies of each shard."
)
@click.option("--task-time", type=TIME, default="5 ms", show_default=True, help="Declared time to search a shard.")
@click.option("--slow", metavar="'RANK xFACTOR'", help="The straggler; absent: the last rank, 20 times slower.")
@click.option(
    "--deadline", type=TIME, help="Deadline of the search with a quorum; absent: 1.5 times its time without straggler."
)
@click.option(
    "--quorum", type=SHARE, default="75 %", show_default=True, help="Share of the shards that ends the search."
)
@click.option(
    "--backup-after",
    type=click.FloatRange(min=1),
    default=1.5,
    show_default=True,
    help="Wait before another replica is asked, in median turnarounds.",
)
def main(
    run: Run, documents: int, question: str, shards: int | None, replicas: int, task_time: float, slow: str | None,
    deadline: float | None, quorum: float, backup_after: float,
) -> None:  # fmt: skip
    Deadline(deadline, quorum)  # checked before anything is measured
    workers = range(1, run.size)
    placement = Shards(shards or 2 * len(workers), workers, replicas)
    straggler = parse_slow((slow,), 1, run.size) if slow else {run.size - 1: 20.0}
    if not corpus.words(question):
        raise UsageError(f"--question needs a word of at least two letters, got {question!r}")
    texts = _texts(run, documents)
    scatter_gather_times.study(run)
    _count_words(run, texts)
    run.show()
    _uneven(run, texts)
    run.show()
    search = Search(run, texts, placement, question, task_time)
    _search(run, search, straggler, deadline, quorum, backup_after)


def _texts(run: Run, documents: int) -> list[corpus.Document]:
    """The documents, read by rank 0; simulated ranks share them."""
    if run.clock == "simulated":
        return _load(documents)
    texts: list[corpus.Document] = run.control.bcast(corpus.load(documents) if run.rank == 0 else None)
    return texts


_load = cache(corpus.load)


def _count_words(run: Run, texts: list[corpus.Document]) -> None:
    """Count words on workers and add the counts on rank 0; compare with one process."""
    chunks = [[document.text for document in texts[at : at + CHUNK]] for at in range(0, len(texts), CHUNK)]

    def count(chunk: list[str]) -> Counter[str]:
        return Counter(word for text in chunk for word in corpus.words(text))

    start = begin_together(run)
    answer = map_tasks(run.comm, count, chunks)
    if answer is None:
        return
    counts: Counter[str] = sum(answer.values(), Counter())
    expected = Counter(word for document in texts for word in corpus.words(document.text))
    wrong = sum(counts.get(word) != count for word, count in expected.items()) + len(counts.keys() - expected.keys())
    run.extra["word_count"] = {
        "words": sum(counts.values()), "different": len(counts), "wrong": wrong, "documents": len(texts),
        "seconds": run.now() - start, "common": counts.most_common(5),
    }  # fmt: skip
    if wrong:
        run.fail(f"{wrong} word counts differ from the one-process count")


def _uneven(run: Run, texts: list[corpus.Document]) -> None:
    """Distribute the same tasks of uneven cost in equal blocks, by pull and by stealing."""
    lengths = sorted(len(document.text) for document in texts[:: max(1, len(texts) // (12 * run.size))])
    total = SECONDS_PER_CHARACTER * sum(lengths)

    def work(length: int) -> Generator[None, None, int]:
        yield from in_parts(run.comm, SECONDS_PER_CHARACTER * length, SLICES)
        return length

    def plain(length: int) -> int:
        emulator.compute(run.comm, SECONDS_PER_CHARACTER * length)
        return length

    ways: dict[str, tuple[int, Any]] = {
        "equal blocks": (run.size, lambda: map_blocks(run.comm, plain, lengths)),
        "pull, one by one": (run.size - 1, lambda: map_tasks(run.comm, work, lengths, batch=1)),
        "pull, batches by duration": (run.size - 1, lambda: map_tasks(run.comm, work, lengths)),
        "stealing": (run.size, lambda: steal_tasks(run.comm, work, lengths, seed=run.seed)),
    }
    if live_s(run, 3 * run.size**2) > run.budget:
        del ways["stealing"]
        run.warn(f"stealing is left out: every one of {run.size} ranks asks all others, and --budget {run.budget:g} is "
                 "too short for that")  # fmt: skip
    run.extra |= {"uneven": {}, "tasks": {"count": len(lengths), "seconds": total}}
    for name, (workers, way) in ways.items():
        begin_together(run)
        answer = way()
        if answer is None:
            continue
        if answer.values() != lengths:
            run.fail(f"{name}: results differ from the one-process answer")
        # Without pacing the wall clock decides which rank steals.
        timeless = name == "stealing" and carrier.of(run.comm).ordered
        took = None if timeless else answer.seconds
        run.extra["uneven"][name] = {"workers": workers, "seconds": took, "balance": took and total / workers / took}


@dataclass
class Search:
    """A question to a sharded corpus."""

    run: Run
    documents: list[corpus.Document]  # the whole corpus
    placement: Shards  # where its shards are
    question: str
    task_s: float  # declared seconds that the search of a shard takes on a worker that is not slow

    def __post_init__(self) -> None:
        names = self.placement.split(range(len(self.documents)))
        self._shards = {
            shard: [self.documents[index] for index in names[shard]]  # type: ignore[call-overload]
            for shard in self.placement.held_by(self.run.rank)
        }

    def ask(self, slow: dict[int, float], **options: Any) -> Answer | None:
        """Search every shard; the answer on rank 0."""
        factor = slow.get(self.run.rank, 1.0)

        def look(task: tuple[int, str]) -> Generator[None, None, list[corpus.Hit]]:
            shard, question = task
            yield from in_parts(self.run.comm, self.task_s, SLICES, factor)
            return corpus.search(self._shards[shard], question, BEST)

        begin_together(self.run)
        with coordinator(self.run.comm, look, batch=1, prefetch=0) as pool:
            return None if pool is None else ask_shards(pool, self.placement, self.question, **options)


def _search(
    run: Run, search: Search, slow: dict[int, float], deadline: float | None, quorum: float, backup_after: float
) -> None:
    """Ask one question with and without a straggler, a backup task, and a deadline with a quorum."""
    names = ", ".join(f"rank {rank} x{factor:g}" for rank, factor in slow.items())
    ways: dict[str, tuple[dict[int, float], dict[str, Any]]] = {
        "no straggler": ({}, {}),
        f"{names}, wait for it": (slow, {}),
        f"{names}, ask another replica": (slow, {"speculate": backup_after}),
        f"{names}, {quorum:.0%} after": (slow, {"deadline": None}),  # filled in when the usual time is known
    }
    truth = corpus.search(search.documents, search.question, BEST) if run.rank == 0 else []
    rows: list[dict[str, Any]] = []
    pairs: list[tuple[float | None, float]] = []
    for name, (who, options) in ways.items():
        if "deadline" in options and run.rank == 0:
            patience = Deadline(1.5 * rows[0]["seconds"] if deadline is None else deadline, quorum)
            name, options = f"{name} {format_time(patience.seconds or 0)}", {"deadline": patience}
        answer = search.ask(who, **options)
        if answer is None:
            continue
        hits = corpus.best((hit for part in answer.present().values() for hit in part), BEST)
        found = len(set(hits) & set(truth)) / max(1, len(truth))
        if not answer.missing and hits != truth:
            run.fail(f"search, {name}: the hits differ from the one-process search")
        seconds, backups = answer.seconds, answer.counts.backups
        predicted = _predicted(run, search, who, options)
        pairs.append((predicted, seconds))
        rows.append({"name": name, "seconds": seconds, "predicted": predicted, "coverage": answer.coverage,
                     "missing": answer.missing, "recall": found, "backups": backups})  # fmt: skip
    if run.rank == 0:
        run.extra["search"] = {
            "question": search.question, "shards": search.placement.shards, "best": BEST, "hits": truth, "ways": rows,
        }  # fmt: skip
        judge(run, "searches", pairs)


def _predicted(run: Run, search: Search, slow: dict[int, float], options: dict[str, Any]) -> float | None:
    """Closed form of the searches that have one: without backups, on a network with known terms.

    A straggler is still at its first shard when the others have searched all else, so the answer waits for it, or
    for the deadline.
    """
    if "speculate" in options or run.network is None:
        return None
    path, shards = run.network.between(0, 1), search.placement.shards
    bytes_down, bytes_up = 100 + len(search.question), 120 + 60 * BEST

    def pulled(tasks: int, workers: int, seconds: float) -> float:
        return costs.dynamic_tasks(tasks, workers, seconds, bytes_down, bytes_up, path.alpha, path.beta, prefetch=0)

    quick = run.size - 1 - len(slow)
    if quick < 1:
        return None
    arrivals = [pulled(1, 1, factor * search.task_s) for factor in slow.values()]
    arrivals += [pulled(done, quick, search.task_s) for done in range(1, shards - len(slow) + 1)]
    patience = options.get("deadline") or Deadline()
    return costs.answer_time(arrivals, patience.needed(shards), patience.seconds or math.inf)


if __name__ == "__main__":
    main()
