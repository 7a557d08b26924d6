"""Records of the federated demo for its result: rounds and all-reduces, with their predicted times."""

from __future__ import annotations

from typing import Any

from demos._lib.formulas import judge
from demos._lib.timing import measured
from emulator import costs
from emulator.run.session import Run
from primitives.federated.averaging import HEADER, Round


def rounds(run: Run, rows: list[dict[str, Any]], training: float | None, n: int) -> None:
    """Add the rounds, of a model of n bytes with its header, to the result and compare their times with the formula.

    `training` is in seconds, that of every client; None where clients differ, so that no formula holds.
    """
    kept = [
        {**vars(row["record"]), "at": row["at"], "loss": row["loss"], "accuracy": row["accuracy"],
         "predicted": _predicted(run, row["record"], training, n)}
        for row in rows
    ]  # fmt: skip
    asked = len(kept[0]["asked"])
    closed = None
    if run.network is not None and training is not None:
        path = run.network.between(0, 1)
        closed = training + costs.seconds("federated", asked, n, path.alpha, path.beta)
    run.measurements.append(
        measured("federated round", asked + 1, n, [one["seconds"] for one in kept], predicted=closed)
    )
    run.extra["rounds"] = kept
    if not any(one["late"] for one in kept):
        judge(run, "federated rounds", [(one["predicted"], one["seconds"]) for one in kept])


def _predicted(run: Run, record: Round, training: float | None, n: int) -> float | None:
    """A round followed message by message; with all clients taking part this is 2 alpha + (m + 1) n beta + training."""
    if run.network is None or training is None:
        return None
    path = run.network.between(0, 1)
    down: list[list[tuple[int, int]]] = [[] for _ in range(run.size)]
    up: list[list[tuple[int, int]]] = [[] for _ in range(run.size)]
    down[0] = [(c, n) for c in record.asked]
    for client in record.asked:
        up[client] = [(0, n if client in record.answered else 8 * HEADER)]
    return costs.timeline([down, up], path.alpha, path.beta) + (training if record.answered else 0.0)


def seldom(run: Run, row: dict[str, Any], steps: int, n: int, declared: float) -> dict[str, Any]:
    """One gap between all-reduces of n bytes, with the bytes that each rank has moved and the predicted time."""
    row["bytes_per_rank"] = 2 * (run.size - 1) / run.size * n * row["rounds"]
    row["predicted"] = None
    if run.network is not None:
        path = run.network.between(0, 1)
        each = costs.exact("ring", run.size, n // 8, 8, path.alpha, path.beta)
        row["predicted"] = row["rounds"] * each + steps * declared
    if not row["same"]:
        run.fail(f"with H = {row['every']} the ranks' models must be equal bit by bit, they are not")
    return row
