"""A month of failures: goodput under each policy, assumed recovery times, and checkpoint intervals."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.report import formats
from emulator.report.model import Axis, Column, Curve, Item, Mark, Series, Table
from emulator.report.views import common
from emulator.units import format_time


def finding(result: common.Result) -> str | None:
    """A sentence on the policy with the highest goodput; None without a month."""
    one = result.get("month")
    if not one:
        return None
    best = max(one["rows"], key=lambda row: row["goodput"])
    return f"{best['policy']} keeps the most of the job: a goodput of {best['goodput']:.2%}."


def view(result: common.Result) -> Iterator[Item]:
    """A row for each policy; then the intervals of those that take checkpoints."""
    one = result.get("month")
    if not one:
        return
    columns = [
        Column("policy", left=True),
        Column("recovery", "recovery_s", formats.time),
        Column("failures", "failures", formats.fixed(".1f")),
        Column("goodput", "goodput", formats.fixed(".4f")),
        Column("p5", "p5", formats.fixed(".4f"), priority=2),
        Column("p95", "p95", formats.fixed(".4f"), priority=2),
        Column("share lost", "lost", formats.fixed(".4f")),
        Column("nodes left", "nodes_left", formats.fixed(".0f"), priority=1),
    ]
    title = (
        f"{one['nodes']} nodes with an MTBF of {format_time(one['mtbf_s'])} each for {format_time(one['length_s'])}, "
        f"mean of {one['draws']} months"
    )
    named: dict[str, list[str]] = {}
    for row in one["rows"]:
        named.setdefault(row["source"], []).append(row["policy"])
    notes = [f"recovery of {', '.join(policies)}: {source}" for source, policies in named.items()]
    notes += [f"a step is {format_time(one['step_s'])}; respawn and restart: a failed node is replaced at once; "
              "waiting nodes do not fail"]  # fmt: skip
    if set(named) != {"given"}:
        notes.append("a job of thousands of nodes takes longer to start again: give --recovery-time, or --costs RUN")
    yield Table.of(title, columns, one["rows"], notes=notes)
    for row in one["rows"]:
        if row["intervals"]:
            yield (
                f"{row['policy']}: best of the checkpoint intervals tried {format_time(row['best'])}; by Young "
                f"{format_time(row['young'])}, by Daly {format_time(row['daly'])}; a checkpoint takes "
                f"{format_time(one['checkpoint_s'])}"
            )
            every, kept = ([each[key] for each in row["intervals"]] for key in ("every", "goodput"))
            yield Series(
                f"intervals-{row['policy']}", f"Goodput by checkpoint interval, {row['policy']}",
                Axis("interval", "s", log=True, form=format_time), Axis("goodput"), [Curve("simulated", every, kept,
                style="joined")], [Mark(row["young"], "Young"), Mark(row["daly"], "Daly")],
            )  # fmt: skip
