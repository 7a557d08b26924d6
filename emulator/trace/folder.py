"""The traces in a run folder: what is done before ranks begin to record, and after all have ended."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from emulator.trace import loading, perfetto
from emulator.trace.recorder import TRACES
from emulator.trace.summary import summarise


def prepare(folder: Path) -> None:
    """Remove what an earlier run has left in this run folder; one rank calls it before any begins."""
    for file in (*(folder / TRACES).glob("*.bin"), folder / perfetto.FILE):
        file.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove what a run that was rejected has recorded; one rank calls it, and no rank needs to have ended."""
    shutil.rmtree(folder / TRACES, ignore_errors=True)


def conclude(folder: Path) -> dict[str, Any]:
    """Read what all ranks have recorded, write `perfetto.FILE` beside it, and give the ``timeline`` of the result.

    One rank calls it, after all have ended their recordings.

    Raises
    ------
    CannotWrite
        The file system refused the file.
    """
    found = loading.load(folder)
    perfetto.write(found, folder / perfetto.FILE)
    return summarise(found)
