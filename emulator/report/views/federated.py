"""Federated averaging: rounds, the effect of liars on each rule, and infrequent all-reduces."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from emulator.report import formats
from emulator.report.model import Axis, Column, Curve, Item, Series, Table, spread
from emulator.report.views import common


def finding(result: common.Result) -> str | None:
    """A sentence on the last round's accuracy, and on the rule most accurate with liars; None without rounds."""
    rounds = result.get("rounds") or []
    if not rounds:
        return None
    last = rounds[-1]
    told = f"After {len(rounds)} rounds federated averaging is {formats.percent(last['accuracy'])} accurate"
    liars = [row for row in result.get("liars") or [] if row["liars"] and row["accuracy"][-1] is not None]
    if liars:
        best = max(liars, key=lambda row: float(row["accuracy"][-1]))
        lying = f"{best['liars']} of {result['environment']['ranks'] - 1} clients lie"
        told += f"; where {lying}, {best['rule']} keeps {formats.percent(best['accuracy'][-1])}"
    return told + "."


def view(result: common.Result) -> Iterator[Item]:
    """Rounds with their check, then accuracy with liars, then DiLoCo."""
    ranks = result["environment"]["ranks"]
    rounds = result.get("rounds") or []
    if rounds:
        title = f"federated averaging, {ranks - 1} clients, {result['clock']} time"
        yield Table.of(title, _ROUNDS, rounds, key=spread(len(rounds), 6))
        yield from common.formula_errors(result, "federated rounds")
    check = result.get("check")
    if check:
        yield f"against one process that plays all clients: {check['wrong']} of {check['weights']} weights differ"
    liars = result.get("liars") or []
    if liars and not liars[0]["liars"]:
        kept = [row["accuracy"][0] for row in liars]
        yield (
            f"no client lied, as Krum tolerates no liar among {ranks - 1} (give --liars, or more ranks): the rules "
            f"reach {formats.percent(min(kept))} to {formats.percent(max(kept))}"
        )
    elif liars:
        lying = f"{liars[0]['liars']} of {ranks - 1} lie"
        columns = [
            Column("rule", left=True),
            Column("no liars", lambda row: row["accuracy"][0], _accuracy),
            Column(lying, lambda row: row["accuracy"][-1], _accuracy),
        ]
        yield Table.of("accuracy when liars send -10 times what they have learned", columns, liars)
    diloco = result.get("diloco") or []
    if diloco:
        saved = Column("saved", lambda row: diloco[0]["rounds"] / row["rounds"], "{:.0f} x".format, priority=3)
        title = f"{result['steps']} local steps on {ranks} ranks, one all-reduce every H of them"
        yield Table.of(title, [*_DILOCO[:3], saved, *_DILOCO[3:]], diloco)
    if rounds:
        curve = Curve.line("accuracy", rounds, "at", "accuracy")
        time = Axis.time(f"{result['clock']} time", curve.x)
        yield Series("accuracy", "Accuracy of federated averaging", time, Axis("accuracy", "%", 100), [curve])


def _accuracy(share: float | None) -> str:
    return "refused" if share is None else formats.percent(share)


def _count(clients: Sized) -> str:
    return str(len(clients))


_TIMES = [
    Column("time", "seconds", formats.time),
    Column("formula", "predicted", formats.time, priority=1),
    Column("off by", lambda row: common.off(row["predicted"], row["seconds"]), formats.off, priority=2),
]

_ROUNDS = [
    Column("round", "number"),
    *(Column(name, form=_count, priority=4) for name in ("asked", "answered", "declined", "late")),
    Column("KiB moved", "bytes", lambda n: f"{n / 1024:.1f}", priority=3),
    *_TIMES,
    Column("at", form=formats.time, priority=3),
    Column("loss", form=formats.fixed(".4f")),
    Column("accuracy", form=formats.percent),
]

_DILOCO = [
    Column("H", "every"),
    Column("all-reduces", "rounds"),
    Column("KiB per rank", "bytes_per_rank", lambda n: f"{n / 1024:,.0f}"),
    *_TIMES,
    Column("loss", form=formats.fixed(".4f")),
    Column("accuracy", form=formats.percent),
]
