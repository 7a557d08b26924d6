"""``python -m emulator report RUN``: a result again, from its folder; with plots or as one HTML page if asked for."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from emulator import results
from emulator.report import drills, links, records, terminal, traffic
from emulator.run.console import outlasting
from emulator.run.options import OneLineCommand


@click.command(cls=OneLineCommand)
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--plots", is_flag=True, help="Draw times and bandwidths into the run folder, as PNG files.")
@click.option("--html", is_flag=True, help="Write the report with its plots as report.html into the run folder.")
def report(run: Path, plots: bool, html: bool) -> None:
    """Print the result in the run folder RUN (or in a result file), such as runs/ring/latest."""
    result = results.load(run)
    folder = run if run.is_dir() else run.parent
    printer = console(record=html)
    for part in parts(result, printer.width):
        printer.print(part)
    drawn: list[Path] = []
    if plots or (html and result["measurements"]):
        from emulator.report import plots as drawing

        drawn = drawing.draw(result, folder)
        for path in drawn:
            click.echo(f"drawn: {path}")
    if html:
        from emulator.report import page

        click.echo(f"written: {page.write(printer.export_html(inline_styles=True), drawn, folder, result)}")


_TOLD = (
    "demo", "command", "started", "environment", "network", "clock", "pace", "fidelity", "measurements", "fits",
    "held_out", "warnings", "failures", "itemsize", "fitted_up_to", "contention", "checks", "unchecked", "meaning",
    "bystanders", "limits", "limits_from", "launches", "schema", "schema_", *drills.KEYS,
)  # fmt: skip
"""Fields of a result that have a form of their own, so that they need not be printed as records."""


def parts(result: Mapping[str, Any], width: int) -> Iterator[Any]:
    """Give what is printed for a result of any command, under a line that says what ran, where and when."""
    yield terminal.opening(result, f"{shlex.join(result['command'])} on {result['started']}")
    if result["demo"] == "run":
        yield from traffic.run_parts(result)
        return
    if result["demo"] == "links":
        yield from links.parts(result)
        return
    yield from terminal.parts({**result, "warnings": []}, width)
    yield from drills.parts(result)
    yield from records.parts(result, _TOLD)
    yield from terminal.warnings(result)
    yield from (f"[red]FAILED[/]: {text}" for text in result.get("failures", []))


def console(record: bool) -> Any:
    """Make the console to print on: as wide as the terminal, or 150 columns where there is none."""
    return outlasting(record=record)
