"""The traces in a run folder: preparing it before ranks record, and concluding after all have ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from emulator.errors import write_all
from emulator.trace import diagram, loading, perfetto
from emulator.trace.recorder import TRACES
from emulator.trace.summary import summarise


def prepare(folder: Path) -> None:
    """Remove an earlier run's traces and pictures from this run folder; one rank calls it before any records."""
    for file in (*(folder / TRACES).glob("*.bin"), folder / perfetto.FILE, folder / diagram.PAGE):
        file.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove the traces of a rejected run; one rank calls it, and no rank needs to have ended."""
    shutil.rmtree(folder / TRACES, ignore_errors=True)


def conclude(folder: Path) -> dict[str, Any]:
    """Read the records of all ranks, write both pictures, and return the result's ``timeline``.

    The pictures are `perfetto.FILE` and `diagram.PAGE`; ``unwritten`` says why one could not be written, so that a full
    disk does not cost the result. The timeline is the summary, and in ``diagram`` what `diagram.data` has picked, as
    JSON. One rank calls it, after all have ended their recordings.
    """
    found = loading.load(folder)
    shown = diagram.data(found)
    problem = write_all(
        lambda: perfetto.write(found, folder / perfetto.FILE), lambda: diagram.write(shown, folder / diagram.PAGE)
    )
    # As text, because a result file has a line for each number of a list.
    pictured = {"diagram": json.dumps(shown, separators=(",", ":")), "unwritten": problem and str(problem)}
    return summarise(found) | pictured
