"""Web-scale retrieval as a case study: which passages answer a question, from an index sharded over workers.

    mpirun -n 8 python -m demos.cases.rag --net cloud-zone

The passages are paragraphs of the documentation strings of installed packages. Rank 0 drives: it turns a question into
numbers, asks every shard, and merges the shards' best by words (BM25) and by vectors (TF-IDF and SVD) into one list.
The other ranks hold the shards, each on two of them, and answer by scatter-gather; the first replica that is free
answers, a late one is backed up by the other, and a deadline with a quorum does without the last. New passages reach a
replica with the next question to it. When a worker is lost, another one indexes its shards from their passages.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from mpi4py import MPI

import emulator
from demos._lib.cases import case, output, retrieval, terms
from demos._lib.cases.retrieval import Index, Passage, Query
from demos._lib.cases.search_service import BEST, PACKAGES, QUESTIONS, REPLICAS, Library, Places, Service, collect
from demos._lib.stragglers import LOST
from emulator.design.model import design_of
from emulator.design.sheets.sheet import Sheet
from emulator.errors import UsageError
from emulator.run.demo_run import Run
from emulator.run.options import demo
from emulator.units import format_time
from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns.catalogue import Pattern
from faults.plan.grammar import parse
from faults.recover.exclusion import routing
from primitives.scatter_gather import Deadline

RANKS, WHY = 3, "the driver and two workers, so that a shard has a replica elsewhere"
DRILLED = ("click", "rich")  # a small collection: a drill is started many times
NEW = 120  # passages that are published while questions are answered


# -- what the design sheet asks for --------------------------------------------------------------------


def scaled(sheet: Sheet, ranks: int) -> Sheet:
    """The design with a query over all workers here; a worker searches as long as one of the sheet's nodes."""
    query = Query(np.zeros(6, np.int32), np.zeros(retrieval.DIMENSIONS, np.int8))
    hits = [(np.zeros(BEST, np.float32), np.zeros(BEST, np.int64)) for _ in range(2)]
    sizes = {"request_bytes": len(pickle.dumps((0, (0, query, [])), 5)), "answer_bytes": len(pickle.dumps(hits, 5))}
    return case.cut(sheet, ranks - 1, query=sizes)


def data(control: MPI.Intracomm, sheet: Sheet, packages: Sequence[str] = PACKAGES) -> Any:
    """The collection, the shards' workers, and this rank's shards."""
    library, places = collect(control, packages), _places(control.Get_size())
    return library, places, library.deal(control, places)


def _places(ranks: int) -> Places:
    return Places(ranks - 1, range(1, ranks))


def timed(comm: MPI.Intracomm, sheet: Sheet, data: Any, steps: case.Steps) -> case.Ends:
    """Ask a question in each step of a replica of every shard, and merge the answers."""
    library, _, held = data
    workers = comm.Get_size() - 1
    seconds = sheet.job.t_comp / workers * steps.factors(workers)
    service = Service(comm, library, _places(comm.Get_size()), held, seconds)
    queries = [library.shared.query(one) for one in library.questions]
    quorum = design_of(sheet).quorum
    options: dict[str, Any] = {"deadline": Deadline(quorum=quorum)} if quorum < 1 else {}
    ends: case.Ends = []
    with service.open() as pool:
        for step in range(steps.count):
            if pool is not None:
                service.ask(pool, queries[step % len(queries)], **options)
                ends.append(emulator.now(comm))
    return ends


# -- its own screen ------------------------------------------------------------------------------------


@demo("cases.rag", needs=RANKS, why=WHY)
@click.option(
    "--question", default="fit a straight line by least squares", show_default=True, help="The question to search for."
)
@click.option(
    "--packages", default=",".join(PACKAGES), show_default=True, help="Packages whose documentation is searched."
)
def main(run: Run, question: str, packages: str) -> None:
    sheet = case.sheet_beside(__file__, run)
    small = scaled(sheet, run.size)
    library, places = collect(run.control, packages.split(",")), _places(run.size)
    if not library.shared.query(question).columns.size:
        raise UsageError(f"a question needs a word that occurs in a passage, got {question!r}: ask with other words")
    held = library.deal(run.control, places)
    whole = Index(library.shared, library.passages if run.rank == 0 else [])
    service = Service(run.comm, library, places, held, _seconds(run, small, places.shards))
    _answers(run, service, whole, question)
    _latencies(run, library, service, whole, small)
    _changes(run, service, whole)
    output.terms(run, terms.compare(run, sys.modules[__name__], sheet, (library, places, held)))


def _seconds(run: Run, sheet: Sheet, shards: int) -> np.ndarray:
    return sheet.job.t_comp / shards * case.Steps(QUESTIONS, sheet.job.spread, run.seed).factors(shards)


def _answers(run: Run, service: Service, whole: Index, question: str) -> None:
    """Show the best passages for the user's question, and compare all questions with the one-process index."""
    library = service.library
    with service.open() as pool:
        if pool is None:
            return
        best, _ = service.ask(pool, library.shared.query(question))
        same = found = 0
        for text, source in zip(library.questions, library.sources, strict=True):
            query = library.shared.query(text)
            numbers, _ = service.ask(pool, query)
            same += numbers == retrieval.fuse(whole.search(query, BEST), BEST)
            found += source in numbers
    shards = service.places.shards
    output.text(run, f"{len(library.passages):,} passages in {shards} shards, each on {REPLICAS} ranks")
    output.text(run, f"best for {question!r}:")
    for number in best[:3]:
        one = library.passages[number]
        output.text(run, f"  {one.name}: {one.text}"[:78])
    output.text(run, f"{found} of {QUESTIONS} questions made of a passage's words find it among the {BEST} best")
    output.verdict(run, same == QUESTIONS, f"{same} of {QUESTIONS} answers are those of the one-process index")


def _latencies(run: Run, library: Library, service: Service, whole: Index, sheet: Sheet) -> None:
    """Median and 99th percentile of the time of an answer by number of shards, and with a slow and a lost worker."""
    worst = service.places.shards
    slow, lost = {worst: 8.0}, {worst: LOST}
    patient = {"deadline": Deadline(2.0 * sheet.job.t_comp / worst, 0.8 if worst > 4 else 0.5)}
    again: dict[str, Any] = {"speculate": 1.5}
    ways: list[tuple[str, int, dict[int, float], dict[str, Any]]] = [
        *((f"{k} shards" if k > 1 else "1 shard", k, {}, {}) for k in sorted({1, max(1, worst // 2), worst})),
        ("a worker 8 times slower", worst, slow, {}),
        ("  asked again elsewhere", worst, slow, again),
        ("  quorum at a deadline", worst, slow, patient),
        ("a worker gone, asked again", worst, lost, again),
        ("  quorum at a deadline", worst, lost, patient),
    ]
    queries = [library.shared.query(one) for one in library.questions[: QUESTIONS if run.network else 20]]
    truth = [set(retrieval.fuse(whole.search(query, BEST), BEST)) for query in queries] if run.rank == 0 else []
    rows = []
    for name, shards, factors, options in ways:
        places = service.places if shards == worst else Places(shards, range(1, shards + 1), 1)
        held = service.held if shards == worst else library.deal(run.control, places)
        one = Service(run.comm, library, places, held, _seconds(run, sheet, shards), factors)
        times, recall, backups = [], [], 0
        with one.open() as pool:
            for query, right in zip(queries, truth, strict=False):
                assert pool is not None  # `truth` is empty on a worker
                numbers, answer = one.ask(pool, query, **options)
                times.append(answer.seconds)
                recall.append(len(right & set(numbers)) / max(1, len(right)))
                backups += answer.counts.backups
        if run.rank == 0:
            rows.append([name, *np.quantile(times, [0.5, 0.99]).tolist(), float(np.mean(recall)), backups])
    columns = {"way": "name", "p50": "time", "p99": "time", "recall": "percent", "asked again": "count"}
    output.table(run, f"time of an answer, {len(queries)} questions", columns, rows)
    complete = [row for row, (*_, options) in zip(rows, ways, strict=False) if options is not patient]
    if any(row[3] < 1 for row in complete):
        run.fail("an answer without a quorum misses passages of the one-process index")


def _changes(run: Run, service: Service, whole: Index) -> None:
    """Add passages while questions are answered, and rebuild the shards of a lost worker."""
    library, lost = service.library, service.places.shards
    fresh = [Passage(len(library.passages) + n, one.name, f"{one.text} revised edition")
             for n, one in enumerate(library.passages[:: max(1, len(library.passages) // NEW)][:NEW])]  # fmt: skip
    with service.open() as pool:
        if pool is None:
            return
        late = service.publish(pool, fresh)
        library.passages += fresh
        whole.add(fresh)
        began = emulator.now(run.comm)
        moved = service.replace(pool, lost)
        took = emulator.now(run.comm) - began
        queries = [library.shared.query(text) for text in library.questions]
        right = [service.ask(pool, query)[0] == retrieval.fuse(whole.search(query, BEST), BEST) for query in queries]
    times = list(late.seconds.values())
    output.text(run, f"{len(fresh)} new passages: visible after {format_time(float(np.median(times)))} (median), "
                f"{format_time(max(times))} at most,")  # fmt: skip
    output.text(run, f"  {late.stale} of {late.answers} answers meanwhile came from a replica that lacked some")
    output.text(run, f"rank {lost} lost: {moved:,} passages sent to other ranks in {format_time(took)} and indexed")
    output.verdict(run, all(right), f"then {sum(right)} of {len(right)} answers are those of one process with them")


# -- the drill: a worker is killed ----------------------------------------------------------------------


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Run one rank of a job that answers a question per step while workers die; rank 0 compares with one process."""
    with routing(job_comm(spec, tools), tools) as route:
        library, places, held = data(route.comm, case.sheet_beside(__file__), DRILLED)

        def look(number: int) -> None:
            tools.working_on(number)
            route.look()

        service = Service(route.comm, library, places, held, np.zeros((1, places.shards)), at_search=look)
        known: set[int] = set()
        right = moved = 0
        with service.open(membership=lambda comm: route.look()) as pool:
            if pool is None:
                return {"place": route.rank}
            whole = Index(library.shared, library.passages)
            for step in route.steps(spec.steps):
                query = library.shared.query(library.questions[step % QUESTIONS])
                right += service.ask(pool, query)[0] == retrieval.fuse(whole.search(query, BEST), BEST)
                for rank in sorted(route.dead - known):
                    moved += service.replace(pool, rank)
                known = set(route.dead)
    return {"place": 0, "right": right, "moved": moved, "replicas": min(map(len, places.now))}


def _matches(spec: JobSpec, folder: Path, results: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    driver = next((one for one in results if one["place"] == 0), None)
    if driver is None:
        return False, "the driver left no result"
    text = f"{driver['right']} of {spec.steps} answers are those of one process, {driver['moved']} passages moved"
    return driver["right"] == spec.steps and driver["replicas"] >= REPLICAS, text


def _check(job: JobSpec) -> None:
    if any(0 in parse(line).target.ranks for line in job.faults):
        raise UsageError(
            "--fault must hit a worker (ranks 1 to N-1): the loss of rank 0, the driver, means a new start of the job "
            '(if_lost = "restart")'
        )


DRILL = Pattern(
    "rag", "a search service whose shards have replicas", ("replicate",), 40, _matches,
    "every answer is that of the one-process index", options={"program": "demos.cases.rag"},
    least_ranks=RANKS + 1, fewest=RANKS, check=_check,
)  # fmt: skip


if __name__ == "__main__":
    main()
