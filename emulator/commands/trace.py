"""``python -m emulator trace RUN``: the timeline of a run that was recorded with ``--trace``, on one screen."""

from __future__ import annotations

from pathlib import Path

import click

from emulator.errors import UsageError
from emulator.report import terminal
from emulator.report.views import timeline
from emulator.run.console import make_console
from emulator.run.one_line import OneLineCommand
from emulator.trace import diagram, loading, perfetto
from emulator.trace.recorder import TRACES
from emulator.trace.summary import summarise


@click.command(cls=OneLineCommand)
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
def trace(run: Path) -> None:
    """Print where the time of RUN went: each rank's activities, and the critical path.

    RUN is a run folder, such as runs/ring/latest, or the folder of one job of a drill, such as its repeat-000.
    """
    folder = _job(run)
    found = loading.load(folder)
    terminal.show(timeline.view(summarise(found)), make_console())
    written, page = folder / perfetto.FILE, folder / diagram.PAGE
    if not written.exists():
        perfetto.write(found, written)
    if not page.exists():
        diagram.write(diagram.data(found), page)
    click.echo(f"diagram: {page}; every event: open {written} at https://ui.perfetto.dev")


def _job(run: Path) -> Path:
    """The folder of the trace: the run's, or for a drill that of its first job with faults."""
    if not run.is_dir():
        raise UsageError(f"a run is a folder, such as runs/ring/latest, found none at {run}")
    if (run / TRACES).is_dir() or list(run.glob("*.bin")):
        return run
    jobs = sorted(folder.parent for folder in run.glob(f"*/{TRACES}"))
    return next((job for job in jobs if job.name.startswith("repeat")), jobs[0] if jobs else run)
