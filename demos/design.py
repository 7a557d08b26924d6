"""The design sheet: write six decisions down, be questioned, and get a number to defend. Needs no mpirun.

python -m demos.design new --example B > clicks.toml
python -m demos.design check clicks.toml
python -m demos.design predict clicks.toml --change consistency.model=bounded --change consistency.bound=4
python -m demos.design plan demos/cases/recommendation.toml --save mine.toml
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from demos._lib.design import receipts as receipts_of
from demos._lib.design import report
from demos._lib.program import SheetRequest
from emulator.errors import CheckFailed, UsageError
from emulator.results.files import replacing
from emulator.run.one_line import OneLineGroup
from emulator.run.options import SIZE, refuse_beside_simulate, sharing

CASES = ("agentic", "federated", "rag", "recommendation", "swarm")
_CASES = Path(__file__).parent / "cases"
_PLACE = {"help": "Run folder; absent: runs/design/<UTC time>."}


@click.group(name="design", cls=OneLineGroup)
def main() -> None:
    """Check, price, plan and draw a design sheet."""


def _verb(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command on one SHEET, with the options that all of them have."""

    @functools.wraps(function)
    def command(sheet: str, terms: str | None, change: tuple[str, ...], **options: Any) -> None:
        function(SheetRequest(sheet, change, terms), **options)

    terms = click.option("--terms", metavar="FILE", help="alpha and beta from a benchmark's text: nccl-tests, OSU, "
                         "Intel MPI Benchmarks, two-point timings.")  # fmt: skip
    change = click.option("--change", multiple=True, metavar="TABLE.FIELD=VALUE", help="Replace a field of the sheet.")
    return main.command(name=function.__name__)(click.argument("sheet")(terms(change(command))))


def _write(path: str, text: str) -> None:
    if not Path(path).parent.is_dir():
        raise UsageError(f"a file is written into a folder that exists, got {path!r}: make its folder first")
    with replacing(path) as waiting:
        waiting.write_text(text, encoding="utf-8")
    click.echo(f"written: {path}")


def _dump(path: str | None, value: Any) -> None:
    if path is not None:
        _write(path, json.dumps(value, indent=1, default=str) + "\n")


@main.command()
@click.option("--case", type=click.Choice(CASES), help="Name of a case study.")
@click.option("--example", type=click.Choice(["A", "B"]),
              help="A: images, data-parallel (default); B: clicks, with a table that fits on no worker.")  # fmt: skip
def new(case: str | None, example: str | None) -> None:
    """Print a sheet to fill in: a commented example, or a case study."""
    if case and example:
        raise UsageError(f"a sheet is a case study or an example, got --case {case} and --example {example}: give one")
    name = f"{case}.toml" if case else f"example_{(example or 'A').lower()}.toml"
    click.echo((_CASES / name).read_text(encoding="utf-8"), nl=False)


@_verb
@click.option("--json", "path", metavar="FILE", help="Write the findings to this file as well.")
def check(asked: SheetRequest, path: str | None) -> None:
    """Ask what a reviewer asks: 17 rules. Exit status 1 if a finding is an error, 0 if there are questions only."""
    from emulator import design

    found = design.check(asked.sheet, asked.terms)
    for line in report.findings(found):
        click.echo(line)
    _dump(path, [asdict(one) for one in found])
    if errors := len({one.rule for one in found if one.error}):
        raise CheckFailed(f"{errors} of 17 rules must be met before this design is built: change the slots named above")


@_verb
@click.option("--sensitivity", is_flag=True, help="Vary alpha and beta by 10x each way.")
@click.option("--out", metavar="DIR", help="Run folder that keeps the prediction; absent: runs/design/<UTC time>.")
@click.option("--json", "path", metavar="FILE", help="Write the prediction to this file as well.")
def predict(asked: SheetRequest, sensitivity: bool, out: str | None, path: str | None) -> None:
    """Say what the design costs: the step by term, p*, the nodes to ask for, the whole job with failures.

    With --change the changed design stands beside the sheet's own, and the slots that this opens again are named.
    """
    from emulator import design
    from emulator.design.prices import pricing

    change, measured, after = asked.changes, asked.terms, asked.sheet
    before = asked.read() if change else after
    priced = [design.predict(one, measured) for one in ((before, after) if change else (before,))]
    nodes = [pricing.chosen_nodes(one, price) for one, price in zip((before, after), priced, strict=False)]
    for line in report.prediction(priced, nodes):
        click.echo(line)
    if change:
        text = report.reopened(design.check(before, measured), design.check(after, measured), change)
        click.echo("\n".join(report.wrapped(text, more="  ")))
    if sensitivity:
        from emulator.design.planning.tolerance import sensitivity as vary

        for line in report.sensitivity(vary(after, measured)):
            click.echo(line)
    if measured is not None:
        from emulator.measure.benchmark_text import extrapolated

        for warning in extrapolated(measured["most_ranks"], max(*nodes, *(one.best() or 1 for one in priced))):
            click.echo("\n".join(report.wrapped(f"warning: {warning}", more="  ")))
    records = [report.record(one, p) for one, p in zip(priced, nodes, strict=True)]
    _dump(path, records)
    kept, past = receipts_of.keep_prediction(after, records[-1], out)
    if past is not None:
        text = f"so far for {past['kind']}: {receipts_of.told(past)} (receipts)"
        click.echo("\n".join(report.wrapped(text, more="  ")))
    click.echo(f"kept for receipts: {kept}")


@_verb
@click.option("--objective", type=click.Choice(["time", "cost", "knee"]), default="time", show_default=True,
              help="time: the shortest job; cost: the fewest node-seconds; knee: the fewest node-seconds at the "
              "nodes to ask for. Designs within 5 % are equal: the one with the fewest servers and spares wins; with "
              "time and knee p is the smallest whose job takes at most 5 % longer.")  # fmt: skip
@click.option("--save", metavar="FILE", help="Write the winner as a sheet, with why and rejected of every slot.")
@click.option("--json", "path", metavar="FILE", help="Write the ranking to this file as well.")
@sharing("full")
def plan(asked: SheetRequest, objective: str, save: str | None, path: str | None, full: bool) -> None:
    """Search all designs for the job's facts; the sheet's slots, if it has any, are not looked at."""
    from emulator import design
    from emulator.design.sheets.writer import sheet_text

    sheet = asked.sheet
    found = design.plan(sheet, objective, asked.terms)
    for line in report.ranking(found, full):
        click.echo(line)
    if save is not None:
        text = Path(asked.path).read_text(encoding="utf-8")
        if sheet.network.file and Path(save).resolve().parent != Path(asked.path).resolve().parent:
            place = json.dumps(str(Path(sheet.network.file).resolve()), ensure_ascii=False)
            text = re.sub(r"^file\s*=.*", lambda _: f"file = {place}", text, flags=re.MULTILINE)
        _write(save, sheet_text(found, text))
    _dump(path, [{**report.record(one.priced, one.nodes), "score": one.score, "reason": one.reason}
                 for one in found.ranked if one.nodes])  # fmt: skip


@_verb
def tolerance(asked: SheetRequest) -> None:
    """Say how far alpha, beta, spread, skew and failures may grow before the answer changes."""
    from emulator import design
    from emulator.design.model import facts_of

    margins = design.tolerance(asked.sheet, asked.terms)
    for line in report.margins(margins, facts_of(asked.sheet, asked.terms)):
        click.echo(line)


@_verb
@click.option("--export", type=click.Choice(["torchrun"]), help="Print a script that times this step's all-reduce.")
def tools(asked: SheetRequest, export: str | None) -> None:
    """Name the production tools and options that each slot maps to."""
    from emulator.design.model import facts_and_design
    from emulator.design.sheets import tools as known

    facts, chosen = facts_and_design(asked.sheet, asked.terms)
    if export:
        click.echo(known.torchrun(facts, chosen), nl=False)
        return
    for line in report.mapping(known.tools(facts, chosen)):
        click.echo(line)


@_verb
@click.option("--out", metavar="FILE.svg", help="Write to this file; absent: standard output.")
def draw(asked: SheetRequest, out: str | None) -> None:
    """Draw the whiteboard: boxes, arrows with bytes per step, the six slots, the figures. SVG."""
    from emulator import design
    from emulator.design.prices import pricing
    from emulator.design.sheets.drawing import draw as drawn

    priced = design.predict(asked.sheet, asked.terms)
    text = drawn(priced, min(pricing.chosen_nodes(asked.sheet, priced), asked.sheet.job.most))
    if out is None:
        click.echo(text, nl=False)
    else:
        _write(out, text)


@_verb
@click.option("-n", "most", type=click.IntRange(min=2), default=16, show_default=True, metavar="N",
              help="Start at most N ranks; a larger design is cut to them.")  # fmt: skip
@click.option("--simulate", type=click.IntRange(min=2), metavar="P",
              help="Simulate at most P ranks in this process instead of starting them.")  # fmt: skip
@click.option("--cap", type=SIZE, default="1M", show_default=True, help="Cut exchanges to so many bytes.")
@sharing("pace", "seed", "out", "json", "trace", "quiet", out=_PLACE,
         pace={"help": "Wall seconds per emulated second; none holds nothing back."})  # fmt: skip
def run(asked: SheetRequest, most: int, cap: int, simulate: int | None, **options: Any) -> None:
    """Run the design's program or skeleton on real ranks over its network; measured beside predicted, term by term.

    A sheet without `program` is run as a skeleton, which computes for the declared time and exchanges messages of the
    sheet's sizes by its patterns; a program, at the size that it holds on this machine. Exit
    status 1 if the total, or a term of at least 5 % of the step, is more than 15 % off.
    """
    from demos._lib.design import run as skeleton_run

    if cap < 1:
        raise UsageError(f"--cap must be at least 1 byte, got {cap}: write e.g. 64K")
    if simulate is not None:
        refuse_beside_simulate("most", "pace", "trace")
    sys.exit(skeleton_run.start(asked, simulate or most, simulate is not None, cap, options))


@_verb
@click.option("-n", "most", type=click.IntRange(min=3), default=8, show_default=True, metavar="N",
              help="Start at most N ranks.")  # fmt: skip
@click.option("--simulate", type=click.IntRange(min=3), metavar="P",
              help="Simulate at most P ranks in this process, in simulated time.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True,
              help="Number of repeats of the drill; the median is reported.")  # fmt: skip
@click.option("--fault", multiple=True, metavar="LINE",
              help="A fault, such as 'kill 3 @ step 10'; absent: as the sheet says.")  # fmt: skip
@sharing("seed", "out", "json", "trace", "quiet", out=_PLACE)
def drill(
    asked: SheetRequest, most: int, simulate: int | None, repeat: int, fault: tuple[str, ...], seed: int, **place: Any
) -> None:
    """Kill what the sheet says it survives, recover by its policy; measured cost beside the priced one.

    The job is the sheet's program, or the pattern's own training or service of `faults`, with the processes of this
    machine. Exit status 3 if it did not recover.
    """
    from demos._lib.design import drill as sheet_drill

    if simulate is not None:
        refuse_beside_simulate("most")
    sys.exit(sheet_drill.start(asked, simulate or most, simulate is not None, repeat, seed, fault, place))


@main.command()
@click.argument("folder", default="runs/design")
@click.option("--json", "path", metavar="FILE", help="Write the rows to this file as well.")
def receipts(folder: str, path: str | None) -> None:
    """List every prediction in FOLDER that was later run, with its error: median and worst, by pattern."""
    from emulator.report import terminal
    from emulator.run.console import make_console

    rows, waiting, skipped = receipts_of.rows(folder)
    terminal.show(receipts_of.view(rows, waiting, skipped), make_console())
    _dump(path, rows)


if __name__ == "__main__":
    main()
