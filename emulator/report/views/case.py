"""The screen of a case study: its answer and that of one process, measured and predicted terms, bytes, faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from emulator.report import formats
from emulator.report.model import Axis, Column, Curve, Item, Row, Series, Table, Text, Verdict
from emulator.report.views import common
from emulator.units import format_time

FORMS: dict[str, Callable[[Any], str]] = {
    "name": formats.plain, "plain": formats.plain, "count": formats.count, "time": formats.time, "bytes": formats.count,
    "percent": formats.percent, "off": formats.off, "figures": formats.fixed(".3f"),
}  # fmt: skip
"""How a column writes its values; `name` is left-aligned."""


def finding(result: common.Result) -> str | None:
    """A sentence on how many checks hold, with the first, and on the error of a step's price; None without checks."""
    parts = result.get("case") or ()
    checks = [part for part in parts if "passed" in part]
    if not checks:
        return None
    failed = [part["text"] for part in checks if not part["passed"]]
    if failed:
        return f"{len(failed)} of {len(checks)} checks failed: {failed[0]}."
    off = [_off(part["terms"]["rows"][-1]) for part in parts if "terms" in part]
    known = [f"; its step was priced {formats.off(one)} off" for one in off if one is not None][:1]
    held = "Its check holds" if len(checks) == 1 else f"All {len(checks)} checks hold"
    return f"{held} ({checks[0]['text']}){''.join(known)}."


def view(result: common.Result) -> Iterator[Item]:
    """The parts of the case in its own order."""
    for part in result.get("case") or ():
        if "terms" in part:
            yield from terms(part["terms"])
        elif "columns" in part:
            columns = [
                Column(name, itemgetter(at), FORMS[form], left=form == "name")
                for at, (name, form) in enumerate(part["columns"].items())
            ]
            yield Table.of(part["title"], columns, part["rows"], notes=part["notes"])
        elif "passed" in part:
            yield Verdict(part["passed"], part["text"])
        else:
            yield Text(part["text"])


def terms(run: Row) -> Iterator[Item]:
    """Measured terms of a step with the predicted ones; `run` is a ``design_run``."""
    title = f"a step of {run['p']} nodes ({run['ranks']} ranks), {' and '.join(run['patterns'])}"
    sent = [f"all ranks together send {run['bytes']:,.0f} bytes in a step"] if run.get("bytes") else []
    if run.get("varying") is not None:
        sent.append(f"jitter and loss, which have no price, add {format_time(run['varying'])} to this step")
    if len(run["rows"]) == 1:
        sent.append("wall time; the prediction is for the preset shm and has no verdict: give --net")
    else:
        sent.append("a term of less than 5 % of the step has no verdict")
    least = -1e-3 * run["rows"][-1]["measured"]  # of the total: less is rounding
    if any(min(row["measured"], row["predicted"]) < least for row in run["rows"] if row["term"] == "waiting"):
        sent.append("waiting below 0 s: unequal computing times keep nodes from meeting at a server's card or a link, "
                    "which gains more than the wait for the slowest costs")  # fmt: skip
    yield Table.of(title, TERMS, run["rows"], notes=sent)
    rows = [row for row in run["rows"] if row["term"] != "total"]
    names = [row["term"] for row in rows]
    curves = [Curve(key, names, [row[key] for row in rows], style="bars") for key in ("measured", "predicted")]
    yield Series("terms", "A step by term, as it was run", Axis("term"), SECONDS, curves)


def _off(row: Row) -> float | None:
    """The relative error; None for a term of next to no time, and for an error above 10."""
    if not row["measured"] or row["share"] < 1e-9:
        return None
    found: float = row["predicted"] / row["measured"] - 1
    return found if abs(found) <= 10 else None


SECONDS = Axis("time of a step", form=format_time)
TERMS = [
    Column("term", left=True),
    Column("measured", form=format_time),
    Column("predicted", form=format_time),
    Column("off by", _off, formats.or_dash(formats.off)),
    Column("of the step", "share", formats.percent),
]
