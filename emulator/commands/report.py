"""``python -m emulator report RUN``: a result again, from its folder; with plots or as one HTML page if asked for."""

from __future__ import annotations

from pathlib import Path

import click

from emulator import results
from emulator.errors import UsageError
from emulator.report import terminal
from emulator.report.views import view
from emulator.run.console import make_console
from emulator.run.options import OneLineCommand


@click.command(cls=OneLineCommand)
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="All columns of tables that are too wide for the terminal.")
@click.option("--plots", is_flag=True, help="Draw times and bandwidths into the run folder, as PNG files.")
@click.option("--html", is_flag=True, help="Write the report with its plots as report.html into the run folder.")
def report(run: Path, full: bool, plots: bool, html: bool) -> None:
    """Print the result in the run folder RUN (or in a result file), such as runs/ring/latest."""
    result = results.load(run)
    folder = run if run.is_dir() else run.parent
    items = list(view(result))
    console = make_console(record=html)
    terminal.show(items, console, full)
    drawn: list[Path] = []
    if plots or html:
        from emulator.report import plots as drawing

        drawn = drawing.draw(items, folder)
        if plots and not drawn:
            raise UsageError(f"there is nothing to draw in this result of {result['demo']}: leave out --plots")
        for path in drawn:
            click.echo(f"drawn: {path}")
    if html:
        from emulator.report import page

        click.echo(f"written: {page.write(console.export_html(inline_styles=True), drawn, folder, result)}")
