"""Parameter server: the time of a push and pull, and staleness against waiting with a straggler.

    mpirun -n 16 python -m demos.parameter_server --consistency ssp --staleness 3 --slow '15 x4'

Prints the time of a synchronous push and pull against the closed form for several rank counts and sizes, trains a
classifier of handwritten digits under the chosen rule (checked against the same training in one process), and runs
all rules for the same time under one straggler: steps per second, waiting, staleness and loss side by side.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click
import numpy as np

from demos._lib import digits, push_pull
from demos._lib.cases.shared_training import Task, TrainingResult, one_process, train
from demos._lib.formulas import fitted, judge, slowest_path
from demos._lib.timing import check_room, live_s
from emulator import costs
from emulator.errors import UsageError
from emulator.run.demo_run import Run
from emulator.run.options import TIME, demo
from emulator.units import format_time
from primitives.parameter_server import Consistency, ParameterServer, messages, moved, place

STEPS_TIMED = 12
TOLERANCE = 0.10  # of the closed form on an idle emulated network
LOSS_FACTOR, LOSS_SLACK = 1.15, 0.02  # a stale run's final loss against the synchronous one's


@demo("parameter_server", needs=2, sizes="64,8K,128K,1M")
@click.option(
    "--servers", type=click.IntRange(min=1), default=1, show_default=True, help="Number of servers: the first ranks."
)
@click.option("--consistency", default="bsp", show_default=True, metavar="bsp|async|ssp")
@click.option("--staleness", type=int, default=3, show_default=True, help="Bound of ssp, in iterations.")
@click.option("--slow", multiple=True, metavar="'RANK x4'", help="A straggler: its iterations take 4 times as long.")
@click.option("--steps", type=click.IntRange(min=1), default=120, show_default=True, help="Iterations per worker.")
@click.option(
    "--step-time", type=TIME, default="2 ms", show_default=True, help="Declared compute time of an iteration."
)
@click.option("--placement", default="range", show_default=True, metavar="range|hash|consistent")
@click.option("--replicas", type=int, default=1, show_default=True, help="Number of servers that keep each shard.")
@click.option("--compression", default="none", show_default=True, metavar="none|fp16|topk:SHARE")
@click.option("--nan", type=click.Choice(["refuse", "accept"]), default="refuse", show_default=True)
def main(
    run: Run, servers: int, consistency: str, staleness: int, slow: tuple[str, ...], steps: int, step_time: float,
    placement: str, replicas: int, compression: str, nan: str,
) -> None:  # fmt: skip
    rules = {"bsp": Consistency("bsp"), "ssp": Consistency("ssp", staleness), "async": Consistency("async")}
    if consistency not in rules:
        raise UsageError(f"--consistency must be one of {', '.join(rules)}, got {consistency!r}")
    if servers >= run.size:
        raise UsageError(f"--servers must leave a rank to work, got {servers} of {run.size} ranks: start more ranks")
    if run.size - servers > digits.IMAGES:
        raise UsageError(f"the data have {digits.IMAGES} images, fewer than one for each of {run.size - servers} "
                         "workers: start fewer ranks, or more --servers")  # fmt: skip
    if not (counts := [p for p in run.sub_sizes((2, 4, 8, 16)) if p > servers]):
        raise UsageError(f"--ranks must leave a rank to work beside {servers} server(s), got {max(run.ranks or ())}")
    stragglers = parse_slow(slow, servers, run.size)
    options: dict[str, Any] = {"replicas": replicas, "compression": compression, "refuse_nan": nan == "refuse"}
    check_room(run, buffers=6)
    task = Task(servers, steps, step_time, stragglers, seed=run.seed, placement=placement, options=options)
    # Every option is checked before anything is measured.
    ParameterServer(run.comm, [task.table()], servers=servers, consistency=rules[consistency], **options)
    price(run, servers, counts)
    task = _affordable(run, task)
    trained_s = learn(run, task, rules[consistency])
    trade(run, task, trained_s / 2, [rules["bsp"], Consistency("ssp", 1), rules["ssp"], rules["async"]])
    if run.rank == 0:  # keys of a million that change their server when one joins
        kinds = ("range", "hash", "consistent")
        shares = {kind: moved(place(kind, 10**6, servers), place(kind, 10**6, servers + 1)) for kind in kinds}
        run.extra |= {"moved": shares, "servers": servers}


def _affordable(run: Run, task: Task) -> Task:
    """The task with as many iterations as a simulation of many ranks can do twice in half of its budget.

    The second time it is in one process, for the check; the trade takes as long again.
    """
    messages = 2 * task.servers * task.options["replicas"] + 2 * digits.GRADIENT
    each = live_s(run, (run.size - task.servers) * messages)
    if task.steps * each <= run.budget / 2:
        return task
    steps = max(1, int(run.budget / 2 / each))
    run.warn(f"{steps} of {task.steps} iterations were trained: --budget {run.budget:g} is too short for all")
    return replace(task, steps=steps)


def parse_slow(texts: tuple[str, ...], servers: int, size: int) -> dict[int, float]:
    """Factors by rank from texts such as ``"3 x4"``."""
    factors = {}
    for text in texts:
        match = re.fullmatch(r"\s*(\d+)\s*x\s*(\d+\.?\d*|\.\d+)\s*", text)
        if not match or not float(match[2]) >= 1:
            raise UsageError(f"--slow is 'RANK xFACTOR' with a factor >= 1, got {text!r}: --slow '3 x4'")
        if not servers <= int(match[1]) < size:
            raise UsageError(f"--slow names a worker, ranks {servers} to {size - 1}, got {match[1]}")
        factors[int(match[1])] = float(match[2])
    return factors


def price(run: Run, servers: int, counts: list[int]) -> None:
    """Time synchronous pushes and pulls for each of `counts` ranks and compare with the closed form."""
    rows = []
    jobs = push_pull.affordable_jobs(run, counts, servers, STEPS_TIMED, run.budget / 4)
    with run.progress(len(jobs), "push and pull") as bar:
        for p, size in jobs:
            seen = push_pull.measure(run.control, run.sub(p), size, servers, STEPS_TIMED)
            if run.rank == 0:
                rows.append(_row(p, size, servers, seen))
                run.measurements.append(rows[-1])  # now: Ctrl-C keeps what there is
            bar.advance()
    if run.rank == 0:
        predict = _configured(run, servers) if run.network is not None else _fitted(run, rows, servers)
        for row in rows:
            row["predicted"] = predict(row["ranks"], row["bytes"])
        if any(row["wrong"] for row in rows):
            run.fail("pulled values differ from the exact sum")
        pairs = [(row["predicted"], row["seconds"]["median"]) for row in rows]
        judge(run, "synchronous steps", pairs, TOLERANCE, exact=run.pace == "none")
    run.show()


def _row(p: int, size: int, servers: int, seen: list[push_pull.Seen]) -> dict[str, Any]:
    workers = p - servers
    each = max(one.worker_bytes for one in seen) / (STEPS_TIMED + push_pull.WARM_UP)
    row = push_pull.measurement("parameter_server", p, size, seen, workers=workers, servers=servers,
                                worker_bytes_per_step=each, samples=push_pull.step_times(seen).tolist())  # fmt: skip
    row["busbw"] = workers * row["algbw"] / servers  # one direction of a server's port
    return row


Predict = Callable[[int, int], float | None]
"""Seconds on p ranks for n bytes."""


def _configured(run: Run, servers: int) -> Predict:
    """The closed form with the network's own alpha and beta (of the slowest path)."""
    alpha, beta = slowest_path(run)
    assert run.network is not None
    sharing = run.network.spec.sharing
    whole = "(w + k)" if sharing == "message" else "2 max(w, k)"
    run.extra["formula"] = (
        f"2 alpha + {whole} (n/k + header) beta, with alpha {format_time(alpha)}, beta {beta * 1e9:.4g} ns/B"
    )

    def predict(p: int, size: int) -> float:
        framed = size + servers * messages.HEADER_BYTES
        return float(
            costs.seconds("parameter_server", p - servers, framed, alpha, beta, servers=servers, sharing=sharing)
        )

    return predict


def _fitted(run: Run, rows: list[dict[str, Any]], servers: int) -> Predict:
    """The closed form with alpha and beta fitted to all but the largest rank count, which is held out."""
    if len(run.sizes) < 2:
        run.extra["formula"] = "one size alone cannot tell alpha from beta: no prediction; give two or more --sizes"
        return lambda p, size: None
    most = max(row["ranks"] for row in rows)
    known = [row for row in rows if row["ranks"] < most]
    predict = fitted(
        run, [(row["pattern"], row["ranks"], row["bytes"], row["samples"]) for row in known or rows],
        lambda _, p: costs.terms("serial_parameter_server", p - servers, servers=servers), "parameter_server",
    )  # fmt: skip
    alpha, beta = (run.fits[-1][term]["value"] for term in ("alpha", "beta"))
    run.extra["formula"] = (
        f"fitted (one port after the other, 2 w (alpha + n/k beta)): alpha {format_time(alpha)}, "
        f"beta {beta * 1e9:.3g} ns/B; ranks {most} held out"
    )
    for row in rows if known else ():
        if row["ranks"] == most:
            predicted, measured = predict(row["pattern"], most, row["bytes"]), row["seconds"]["median"]
            run.held_out.append({"ranks": most, "bytes": row["bytes"], "measured": measured, "predicted": predicted,
                                 "relative_error": predicted / measured - 1})  # fmt: skip
    return lambda p, size: predict("", p, size)


def learn(run: Run, task: Task, rule: Consistency) -> float:
    """Train, check against one process, record loss, staleness and bytes; returns the seconds on every rank."""
    trained = train(run, task, rule)
    if run.rank == 0:
        _keep(run, task, rule, trained)
    run.show()
    return float(run.control.bcast(trained.seconds))


def _keep(run: Run, task: Task, rule: Consistency, trained: TrainingResult) -> None:
    workers = list(range(task.servers, run.size))
    images, labels = digits.load()
    expected = one_process(task, workers)
    loss, reference = (digits.loss(w, images, labels) for w in (trained.weights, expected))
    summary = trained.summary
    steps = sum(summary.clocks.values())
    for rank, count in sorted(summary.not_finite.items()):
        outcome = "refused" if task.options["refuse_nan"] else "let through"
        run.warn(f"worker {rank} pushed NaN or infinity {count} times: {outcome}")
    run.extra["training"] = {
        "consistency": str(rule), "workers": len(workers), "steps": steps, "seconds": trained.seconds,
        "loss": [(at, step, digits.loss(weights, images, labels)) for at, step, weights in trained.history],
        "final_loss": loss, "one_process_loss": reference, "accuracy": digits.accuracy(trained.weights, images, labels),
        "staleness": dict(summary.staleness), **trained.rates(),
        "check": _check(run, task, rule, trained, expected, loss, LOSS_FACTOR * reference + LOSS_SLACK),
    }  # fmt: skip


def _check(
    run: Run, task: Task, rule: Consistency, trained: TrainingResult, expected: Any, loss: float, limit: float
) -> dict[str, Any]:
    """Check a training: its staleness, and its weights (equal bit by bit under bsp) or its loss (within a limit)."""
    bound = rule.staleness
    if bound is not None and trained.summary.staleness.largest > bound:
        run.fail(f"observed staleness {trained.summary.staleness.largest} is above the bound {bound}")
    if rule.together and task.options["compression"] == "none":
        wrong = int(np.count_nonzero(trained.weights != expected))
        if wrong:
            run.fail(f"{wrong} weights differ from the one-process run")
        return {"wrong": wrong, "weights": expected.size}
    if not loss <= limit:
        run.fail(f"the final loss {loss:.4f} is above {limit:.4f}")
    return {"limit": limit, "factor": LOSS_FACTOR, "slack": LOSS_SLACK}


def trade(run: Run, task: Task, seconds: float, rules: list[Consistency]) -> None:
    """Run all rules for the same time with one straggler: steps, waiting, staleness and loss of each."""
    slow = task.slow or {run.size - 1: 4.0}
    if run.size - task.servers < 2:
        run.extra["no_trade"] = "a trade between staleness and waiting needs two workers: left out"
        return
    rows = []
    limited = replace(task, slow=slow, until_s=seconds)
    for rule in dict.fromkeys(rules):
        trained = train(run, limited, rule)
        if run.rank == 0:
            seen, clocks = trained.summary.staleness, trained.summary.clocks
            rows.append({"rule": str(rule), "staleness_mean": seen.mean,
                         "straggler_share": sum(clocks[rank] for rank in slow) / sum(clocks.values()),
                         "loss": digits.loss(trained.weights, *digits.load()), "staleness_max": seen.largest,
                         **trained.rates()})  # fmt: skip
    stragglers = [{"rank": rank, "factor": factor} for rank, factor in slow.items()]
    run.extra |= {"trade": rows, "traded": {"seconds": seconds, "slow": stragglers}}
    run.show()


if __name__ == "__main__":
    main()
