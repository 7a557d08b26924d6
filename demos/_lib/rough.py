"""How far formulas are from what was measured on the machine's own transport, and why, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from emulator.report.formats import percent
from emulator.run.session import Run

_CROWDED = "{ranks} ranks share {cores} cores, so that a rank waits for its turn on one as well as for a message"
_ROOMY = "caches, queues and protocols of a real transport change with size and load"


def say_how_far(run: Run, pairs: Sequence[tuple[float | None, float]], what: str) -> None:
    """Print the median and the worst error on the bare transport, with the reason; nothing on an emulated network.

    Parameters
    ----------
    pairs
        Predicted (None where there is no formula) and measured seconds.
    what
        What was measured, in the plural.
    """
    off = [abs(predicted / measured - 1) for predicted, measured in pairs if predicted is not None]
    if run.network is not None or run.rank != 0 or not off:
        return
    seen = run.result["environment"]
    why = _CROWDED.format(ranks=run.size, cores=seen["cores"]) if seen["oversubscription"] > 1 else _ROOMY
    run.extra.setdefault("formula_errors", {})[what] = {"median": median(off), "worst": max(off), "points": len(off)}
    run.echo(
        f"{what}: formula and measurement {percent(median(off))} apart (median of {len(off)}), {percent(max(off))} at "
        f"worst; {why}, which no alpha and beta describe: with --net the formulas can be held to"
    )
