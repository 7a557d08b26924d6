"""What the federated demo prints and keeps. Rank 0 only."""

from __future__ import annotations

from typing import Any

import numpy as np

from demos._lib.gossip_report import WITHIN, ideal, table
from emulator import costs
from emulator.measure import statistics
from emulator.report.formats import microseconds, percent
from emulator.run.session import Run
from primitives.federated.averaging import HEADER, Round


def _predicted(run: Run, record: Round, training: float | None, model_bytes: int) -> float | None:
    """A round followed message by message; with everybody taking part this is 2 alpha + (m + 1) n beta + training."""
    if run.network is None or training is None:
        return None
    path = run.network.between(0, 1)
    down: list[list[tuple[int, int]]] = [[] for _ in range(run.size)]
    up: list[list[tuple[int, int]]] = [[] for _ in range(run.size)]
    down[0] = [(c, model_bytes) for c in record.asked]
    for client in record.asked:
        up[client] = [(0, model_bytes if client in record.answered else 8 * HEADER)]
    return costs.timeline([down, up], path.alpha, path.beta) + (training if record.answered else 0.0)


def rounds(run: Run, rows: list[dict[str, Any]], training: float | None) -> None:
    """Print the rounds: who took part, bytes, time beside the formula, accuracy over time."""
    n = 8 * (HEADER + 650)
    laid = table(
        f"federated averaging, {run.size - 1} clients, {run.clock} time",
        "round", "asked", "answered", "declined", "late", "KiB moved", "round us", "formula us", "off by", "at us",
        "loss", "accuracy",
    )  # fmt: skip
    worst = 0.0
    shown = {*range(min(3, len(rows))), *range(4, len(rows), 5), len(rows) - 1}
    for row in rows:
        record = row["record"]
        expected = _predicted(run, record, training, n)
        off = None if expected is None else expected / record.seconds - 1
        worst = max(worst, abs(off or 0.0))
        if record.number in shown:
            laid.add_row(
                str(record.number), str(len(record.asked)), str(len(record.answered)), str(len(record.declined)),
                str(len(record.late)), f"{record.bytes / 1024:.1f}", microseconds(record.seconds),
                microseconds(expected), percent(off, signed=True), microseconds(row["at"]), f"{row['loss']:.4f}",
                percent(row["accuracy"]),
            )  # fmt: skip
    run.echo(laid)
    seconds = [row["record"].seconds for row in rows]
    asked = len(rows[0]["record"].asked)
    run.measurements.append({
        "pattern": "federated round", "ranks": asked + 1, "bytes": n, "wrong": 0, "algbw": None, "busbw": None,
        "seconds": statistics.summary(seconds),
        "predicted": _closed(run, asked, n, training), "native": None,
    })  # fmt: skip
    run.extra["rounds"] = [
        {**vars(row["record"]), "at": row["at"], "loss": row["loss"], "accuracy": row["accuracy"]} for row in rows
    ]
    if ideal(run) and training is not None and not any(row["record"].late for row in rows):
        verdict = "PASS" if worst <= WITHIN else "FAIL"
        run.echo(f"round times hold to the formula to {worst:.1%} (at most {WITHIN:.0%}): {verdict}")
        if worst > WITHIN:
            run.fail(f"a federated round must take its formula's time to {WITHIN:.0%}, one is {worst:.1%} off")


def _closed(run: Run, asked: int, n: int, training: float | None) -> float | None:
    if run.network is None or training is None:
        return None
    path = run.network.between(0, 1)
    return training + costs.seconds("federated", asked, n, path.alpha, path.beta)


def liars(run: Run, rows: list[dict[str, Any]], count: int) -> None:
    """Print accuracy without and with liars, rule by rule."""
    heads = ["everybody honest", *([f"{count} of {run.size - 1} lie"] if count else [])]
    laid = table("accuracy when liars send -10 times what they have learned", "rule", *heads)
    for row in rows:
        laid.add_row(row["rule"], *["refused" if np.isnan(a) else percent(a) for a in row["accuracy"]])
    run.extra["liars"] = rows
    run.echo(laid, "")
    for row in rows:
        honest, lied = row["accuracy"][0], row["accuracy"][-1]
        if row["rule"] != "mean" and count and not np.isnan(lied) and lied < honest - 0.1:
            run.warn(f"{row['rule']} loses {percent(honest - lied)} accuracy to {count} liars")


def seldom(run: Run, rows: list[dict[str, Any]], steps: int, n: int, declared: float) -> None:
    """Print what an all-reduce every H steps saves, and what it costs in loss."""
    laid = table(
        f"{steps} local steps on {run.size} ranks, one all-reduce every H of them",
        "H", "all-reduces", "KiB per rank", "saved", "time us", "formula us", "off by", "loss", "accuracy",
    )  # fmt: skip
    first = rows[0]
    for row in rows:
        moved = 2 * (run.size - 1) / run.size * n * row["rounds"]
        expected = None
        if run.network is not None:
            path = run.network.between(0, 1)
            each = costs.exact("ring", run.size, n // 8, 8, path.alpha, path.beta)
            expected = row["rounds"] * each + steps * declared
        laid.add_row(
            str(row["every"]), str(row["rounds"]), f"{moved / 1024:,.0f}", f"{first['rounds'] / row['rounds']:.0f} x",
            microseconds(row["seconds"]), microseconds(expected),
            "-" if expected is None else percent(expected / row["seconds"] - 1, signed=True),
            f"{row['loss']:.4f}", percent(row["accuracy"]),
        )  # fmt: skip
        if not row["same"]:
            run.fail(f"with H = {row['every']} the ranks' models must be equal bit by bit, they are not")
    run.extra["diloco"] = rows
    run.echo(laid)
