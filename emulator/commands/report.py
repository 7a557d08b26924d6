"""``python -m emulator report RUN...``: show saved results again, on the terminal or as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from emulator import results
from emulator.report import terminal
from emulator.report.views import view
from emulator.results import of_this_version
from emulator.results.files import check_writable
from emulator.run.console import make_console
from emulator.run.one_line import OneLineCommand
from emulator.run.options import sharing


@click.command(cls=OneLineCommand)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@sharing("full")
@click.option("-o", "page", metavar="FILE.html", type=click.Path(path_type=Path),
              help="Write one page of all these results, side by side, and print nothing of them.")  # fmt: skip
def report(runs: tuple[Path, ...], full: bool, page: Path | None) -> None:
    """Print the result in each run folder RUN (or result file), such as runs/ring/latest."""
    found = [results.load(run) for run in runs]
    if page is not None:
        from emulator.report import page as pages

        check_writable(page, "-o")
        with of_this_version(*runs):
            click.echo(f"written: {pages.write(page, found)}")
        return
    console = make_console()
    for number, result in enumerate(found):
        if number:
            console.print()
        with of_this_version(runs[number]):
            terminal.show([*view(result)], console, full)
