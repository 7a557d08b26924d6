"""``python -m emulator report RUN``: a result again, from its folder; with plots or as one HTML page if asked for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from emulator import results
from emulator.cli import OneLineCommand
from emulator.console import outlasting
from emulator.report import links, terminal, traffic


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
    if plots or html:
        from emulator.report import plots as drawing

        drawn = drawing.draw(result, folder)
        for path in drawn:
            click.echo(f"drawn: {path}")
    if html:
        from emulator.report import page

        click.echo(f"written: {page.write(printer.export_html(inline_styles=True), drawn, folder, result)}")


def parts(result: Mapping[str, Any], width: int) -> Iterator[Any]:
    """Give what is printed for a result of any demo, under a line that says what ran, where and when."""
    if result["demo"] == "run":
        yield terminal.opening(result, f"{' '.join(result['command'])} on {result['started']}")
        yield from traffic.run_parts(result)
        return
    yield terminal.opening(result, f"demos.{result['demo']} on {result['started']}")
    if result["demo"] == "links":
        yield from links.parts(result)
    else:
        yield from terminal.parts(result, width)


def console(record: bool) -> Any:
    """Make the console to print on: as wide as the terminal, or 150 columns where there is none."""
    return outlasting(record=record)
