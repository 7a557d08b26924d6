"""An agentic language model as a case study: sharded training, then agents whose tasks are distributed to workers.

    mpirun -n 8 python -m demos.cases.agentic --net hdr

A small character model learns the standard library's documentation. Ranks 1 to N-1 train it: pairs of ranks share the
model out (tensor parallelism), the pairs share the batch out (data parallelism), with an all-reduce in both. Half-way
a pair leaves, and the others go on from a checkpoint. Then rank 0 orchestrates: an episode is two drafts of a text and
a judgement that needs both; tasks go out when what they need is there, lost and late ones are done again elsewhere.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from demos._lib.cases import case, output, terms
from demos._lib.cases import char_model as model
from demos._lib.stragglers import LOST, in_parts
from demos._lib.timing import begin_together
from emulator.design.sheets.sheet import Sheet
from emulator.errors import on_root
from emulator.run.demo_run import Run
from emulator.run.options import demo
from emulator.units import format_time
from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns.catalogue import Pattern
from faults.recover.multilevel import Levels
from faults.recover.reexecute import reexecute
from faults.recover.step_loop import recovering
from primitives.collectives.all_reduce import all_reduce
from primitives.scatter_gather import Answer, Coordinator, coordinator

RANKS, WHY = 3, "the orchestrator, and a pair that shares the model"
TENSOR = 2
HIDDEN = 84  # units, a multiple of what up to 7 tensor ranks need
STEPS = 400
LENGTH, DRAFTS = 24, 2  # characters of a draft, drafts of an episode
SHORT = 4  # characters of a draft in steps that are only timed
PROMPTS = ("return the ", "the number of ", "a string ", "if the file ", "raise an error ", "create a new ")
SECONDS = 1e-3  # declared computing as a share of the sheet's
_ROUNDING = 1e-9  # of losses: sums in another order, over all steps


# -- serving -------------------------------------------------------------------------------------------


@dataclass
class Agents:
    """Workers that draft and judge, and the orchestrator that plans.

    Attributes
    ----------
    seconds : declared computing of a task
    factors : how many times longer a worker takes; `LOST`: it never answers
    """

    comm: MPI.Intracomm
    whole: model.Weights
    seconds: float
    factors: dict[int, float] = field(default_factory=dict)

    def work(self, task: tuple[str, Any, int]) -> Generator[None, None, Any]:
        """Work as a worker: write a draft, or choose the better of several."""
        kind, given, variant = task
        yield from in_parts(self.comm, self.seconds, 4, self.factors.get(self.comm.Get_rank(), 1.0))
        return answer_of(self.whole, kind, given, variant)

    def episodes(self, pool: Coordinator, **options: Any) -> tuple[list[str], list[Answer]]:
        """Make a text from every prompt: a task is sent as soon as its inputs exist."""
        tasks: dict[tuple[int, int], tuple[str, list[tuple[int, int]]]] = {}
        for number in range(len(PROMPTS)):
            drafts = [(number, variant) for variant in range(DRAFTS)]
            tasks |= {name: ("draft", []) for name in drafts} | {(number, DRAFTS): ("judge", drafts)}
        done: dict[tuple[int, int], Any] = {}
        answers: list[Answer] = []
        while ready := [name for name, (_, needs) in tasks.items() if name not in done and done.keys() >= set(needs)]:
            asked = [(tasks[name][0], [done[one] for one in tasks[name][1]] or PROMPTS[name[0]], name[1])
                     for name in ready]  # fmt: skip
            answers.append(pool.ask(asked, **options))
            done |= zip(ready, answers[-1].values(), strict=True)
        return [done[number, DRAFTS] for number in range(len(PROMPTS))], answers


def answer_of(whole: model.Weights, kind: str, given: Any, variant: int) -> Any:
    """The result of a task, equal on every worker."""
    if kind == "draft":
        return model.draft(whole, given, LENGTH, variant)
    return max(given, key=lambda said: (model.likelihood(whole, said), said))


def episodes_alone(whole: model.Weights) -> list[str]:
    """The oracle: make the same texts in one process."""
    return [answer_of(whole, "judge", [answer_of(whole, "draft", one, v) for v in range(DRAFTS)], 0) for one in PROMPTS]


# -- what the design sheet asks for --------------------------------------------------------------------


def scaled(sheet: Sheet, ranks: int) -> Sheet:
    """The design with a node on each rank but the orchestrator, eight tasks for each node; a thousandth of the time."""
    nodes, task = ranks - 1, sheet.task[0]
    asked = sheet.partition.nodes if sheet.partition and sheet.partition.nodes else nodes
    texts = {"request_bytes": len(pickle.dumps(("draft", PROMPTS[0], 0))), "answer_bytes": len(PROMPTS[0]) + SHORT}
    return case.cut(
        sheet, nodes, {"t_comp": SECONDS * sheet.job.t_comp * nodes / asked},
        layers={"activations": model.BATCH * model.V * 8, "algorithm": "ring"},
        episode={"count": 8 * nodes, "seconds": SECONDS * task.seconds, **texts},
    )  # fmt: skip


def data(control: MPI.Intracomm, sheet: Sheet) -> Any:
    """The text, the same on every rank."""
    return on_root(control, model.text)


def timed(comm: MPI.Intracomm, sheet: Sheet, data: Any, steps: case.Steps) -> case.Ends:
    """Run a training step over all nodes that share the model, then its episodes."""
    nodes, task = comm.Get_size() - 1, sheet.task[0]
    layers = sheet.job.t_comp / nodes * steps.factors(nodes)
    tasks = task.seconds * steps.factors(nodes + task.count)[:, nodes:]
    sub: Any = comm.Split(MPI.UNDEFINED if comm.Get_rank() == 0 else 0, comm.Get_rank())
    whole = model.begin(nodes * max(1, HIDDEN // nodes))
    grid = model.Grid() if sub is None or sub == MPI.COMM_NULL else model.Grid.on(sub, nodes)
    shard = model.part(whole, grid.tensor_place, grid.tensor)
    ends: case.Ends = []

    drafted = cache(partial(model.draft, whole, length=SHORT, variant=0))  # the same text for each task

    def work(given: tuple[str, str, float]) -> str:
        emulator.compute(comm, given[2])
        return drafted(given[1])

    for number in range(steps.count):
        if comm.Get_rank():
            emulator.compute(comm, layers[number, grid.tensor_place])
            model.step(grid, shard, data, number)
        with coordinator(comm, work, batch=1) as pool:
            if pool is not None:
                pool.ask([("draft", PROMPTS[0], float(amount)) for amount in tasks[number]])
                ends.append(emulator.now(comm))
    return ends


# -- its own screen ------------------------------------------------------------------------------------


@demo("cases.agentic", needs=RANKS, why=WHY)
def main(run: Run) -> None:
    sheet = case.sheet_beside(__file__, run)
    small, text = scaled(sheet, run.size), data(run.control, sheet)
    whole = _training(run, small, text)
    _serving(run, small, whole)
    output.terms(run, terms.compare(run, sys.modules[__name__], sheet, text))


def _training(run: Run, sheet: Sheet, text: Any) -> model.Weights:
    """Train on pairs of ranks, on one pair fewer from half-way on; returns the model, on every rank."""
    pairs, losses, began = (run.size - 1) // TENSOR, [], run.now()
    steps = case.fewer(STEPS, run.size, 80)
    kept: model.Weights = model.begin(HIDDEN)
    used = [pairs, max(1, pairs - 1)]
    for half, number in enumerate(used):
        mine = 0 < run.rank <= number * TENSOR
        sub: Any = run.comm.Split(0 if mine else MPI.UNDEFINED, run.rank)
        if mine:
            grid = model.Grid.on(sub, TENSOR)
            shard = model.part(kept, grid.tensor_place, TENSOR)
            for step in range(half * steps // 2, (half + 1) * steps // 2):
                emulator.compute(run.comm, sheet.job.t_comp / (number * TENSOR))
                losses.append(model.step(grid, shard, text, step))
        shards = run.comm.gather(shard if mine and grid.data_place == 0 else None)  # the checkpoint, on rank 0
        kept = run.comm.bcast(model.joined([one for one in shards if one is not None]) if shards else None)
    took, told = run.now() - began, run.control.gather(losses)
    if told is None:
        return kept
    seen = told[1]
    right, model_alone = model.losses_alone(text, HIDDEN, steps)
    rows = [[step, seen[step], right[step], abs(seen[step] - right[step])]
            for step in (0, steps // 8, steps // 2 - 1, steps // 2, steps - 1)]  # fmt: skip
    output.table(run, f"training on {len(text):,} characters, {pairs} x {TENSOR} ranks, after step {steps // 2} "
                 f"{used[1]} x {TENSOR}; {format_time(took)}",
                 {"step": "plain", "loss": "figures", "one process": "figures", "apart": "plain"}, rows)  # fmt: skip
    worst = float(np.abs(np.subtract(seen, right)).max())
    same = max(float(np.abs(kept[name] - model_alone[name]).max()) for name in kept)
    output.verdict(run, max(worst, same) < _ROUNDING,
                   f"losses are those of one process, {worst:.0e} apart (at most {_ROUNDING:.0e})")  # fmt: skip
    return kept


def _serving(run: Run, sheet: Sheet, whole: model.Weights) -> None:
    """Run episodes with all workers at full speed, one slow, and one that never answers."""
    last, rows, right = min(run.size - 1, len(PROMPTS) * DRAFTS), [], True  # one that is dealt a task
    again = {"speculate": 1.5}
    ways: list[tuple[str, dict[int, float], dict[str, Any]]] = [
        ("all well", {}, {}), ("a worker 20 times slower", {last: 20.0}, {}),
        ("  its tasks again elsewhere", {last: 20.0}, again), ("a worker gone, tasks again", {last: LOST}, again),
    ]  # fmt: skip
    said: list[str] = []
    alone = episodes_alone(whole) if run.rank == 0 else []
    for name, factors, options in ways:
        agents = Agents(run.comm, whole, sheet.task[0].seconds, factors)
        begin_together(run)
        with coordinator(run.comm, agents.work, batch=1, prefetch=0) as pool:
            if pool is None:
                continue
            said, answers = agents.episodes(pool, **options)
        right = right and said == alone
        rows.append([name, sum(one.seconds for one in answers), sum(one.counts.sent for one in answers),
                     sum(one.counts.backups for one in answers)])  # fmt: skip
    if run.rank == 0:
        columns = {"way": "name", "time": "time", "tasks sent": "count", "backups": "count"}
        output.table(run, f"{len(PROMPTS)} episodes of {DRAFTS} drafts and a judgement", columns, rows)
        output.text(run, f"  {said[0]!r}")
    output.verdict(run, right, f"all {len(PROMPTS)} texts are those of one process, each way")


# -- the drill: ranks are killed in training and in serving ----------------------------------------------

TRAINING = 24  # steps of the drill; the others answer requests
REQUESTS = 12


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Run one rank of a job that trains on shards and then answers requests; rank 0, or its successor, orchestrates."""
    text = model.text(60)
    begun = model.begin(4 * spec.ranks)
    state = {"losses": np.zeros(TRAINING), "answers": np.full((spec.steps, REQUESTS), -1, np.int64)}
    levels = Levels(model.part(begun, max(0, tools.member) % spec.ranks, spec.ranks))  # kept by the neighbour as well
    with recovering(
        job_comm(spec, tools),
        state,
        policy=spec.recovery,
        spares=spec.spares,
        at_least=spec.ranks,
        drill=tools,
        levels=levels,
    ) as job:
        while job.next(spec.steps):
            with job.attempt():
                if job.place is None:
                    continue
                grid = model.Grid(0, 1, job.place, spec.ranks, None, job.comm)
                if job.step < TRAINING:
                    state["losses"][job.step] = model.step(grid, levels.own, text, job.step)
                else:
                    whole = _gathered(job.comm, levels.own, job.place)
                    requests = [(job.step, number) for number in range(REQUESTS)]
                    reexecute(job.comm, partial(_next, whole), requests, state["answers"][job.step])
    return {"place": job.place, "losses": job.committed["losses"].tolist(),
            "answers": job.committed["answers"].tolist(), "recoveries": job.recoveries}  # fmt: skip


def _gathered(comm: MPI.Intracomm, shard: model.Weights, place: int) -> model.Weights:
    """The whole model on every rank, as a sum of models that are zero except one rank's shard."""
    nothing = {name: np.zeros_like(value) for name, value in shard.items()}
    parts = model.joined([shard if rank == place else nothing for rank in range(comm.Get_size())])
    whole = {name: all_reduce(comm, value) for name, value in parts.items()}
    return whole | {"b2": shard["b2"]}  # of which every rank has all


def _next(whole: model.Weights, request: tuple[int, int]) -> int:
    """The most likely character after a part of a prompt."""
    step, number = request
    prompt = PROMPTS[(step + number) % len(PROMPTS)]
    context = [model.CHARACTERS.index(c) for c in prompt[number % 3 :][: model.CONTEXT]]
    return int(np.argmax(model.chances(whole, context)))


def _matches(spec: JobSpec, folder: Path, results: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Compare every rank's losses with one process, to rounding, and every answer."""
    losses, whole = model.losses_alone(model.text(60), 4 * spec.ranks, TRAINING)
    right = [[_next(whole, (step, number)) for number in range(REQUESTS)] for step in range(TRAINING, spec.steps)]
    at_work = [one for one in results if one["place"] is not None]
    worst = max(float(np.abs(np.subtract(one["losses"], losses)).max()) for one in at_work)
    wrong = sum(one["answers"][TRAINING:] != right for one in at_work)
    answers = (spec.steps - TRAINING) * REQUESTS
    return worst < _ROUNDING and not wrong, (
        f"losses of {TRAINING} steps {worst:.0e} apart from one process, {answers} answers right on "
        f"{len(at_work) - wrong} of {len(at_work)} ranks"
    )


DRILL = Pattern(
    "agentic", "sharded training, then requests", ("respawn", "spare"), 40, _matches,
    "losses and answers are those of one process", options={"program": "demos.cases.agentic"},
    least_ranks=RANKS,
)  # fmt: skip


if __name__ == "__main__":
    main()
