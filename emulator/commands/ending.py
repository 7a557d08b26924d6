"""Gather each rank's figures at the end of a program without a collective call, which a dead rank would block.

A rank may never end: it died, or it waits for one that has ended. The others must not wait for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpi4py import MPI

from emulator import results
from emulator.core import traffic
from emulator.wire.pacing import summarise

PATIENCE_S = 30.0
"""Wall seconds after which rank 0 reports without the ranks that have not ended; their end is a second report."""
_NAP_S = 1e-3

Row = tuple[Any, Any, int] | None
"""A rank's traffic, its deadlines and overruns, its inversions; None without an emulated network."""


class Ending:
    """Gathers the figures of ranks as they end; all ranks construct one before the program (collective).

    Parameters
    ----------
    control : a communicator of MPI itself that the program does not use
    engine : of the emulated communicator, if there is one
    """

    def __init__(self, control: MPI.Intracomm, engine: Any = None, patience_s: float = PATIENCE_S) -> None:
        self._engine, self._control, self._patience_s = engine, control, patience_s
        self._began = time.perf_counter()

    def wall(self) -> float:
        """Wall seconds since the program began."""
        return time.perf_counter() - self._began

    def rows(self) -> Iterator[list[Row]]:
        """On rank 0, the rows of all ranks once all have ended; once before that, the rows of those that have.

        Other ranks hand theirs in and get nothing.
        """
        engine = self._engine
        mine = engine and (traffic.of_rank(engine.clock.t, engine.routes), engine.pacer.figures(), engine.inversions())
        if self._control.Get_rank() > 0:
            self._sent = self._control.isend(mine, 0)
            return
        rows, missing = [mine], set(range(1, self._control.Get_size()))
        impatient = time.perf_counter() + self._patience_s
        while missing:
            rows += self._arrived(missing)
            if not missing:
                break
            if time.perf_counter() > impatient:
                impatient = float("inf")
                listed = ", ".join(map(str, sorted(missing)))
                _say(f"ranks {listed} have not ended {self._patience_s:g} s after rank 0: reporting without")
                yield rows
            time.sleep(_NAP_S)
        yield rows

    def _arrived(self, missing: set[int]) -> list[Row]:
        """Receive the rows of ranks that have ended since, and remove these and failed ranks from `missing`."""
        rows = []
        if self._engine is not None:
            self._engine.progress()  # others may need this rank to take in their last messages
        for rank in sorted(missing):
            try:
                if not self._control.iprobe(rank):
                    continue
                rows.append(self._control.recv(source=rank))
            except MPI.Exception:
                _say(f"rank {rank} has died: its messages are missing from the report")
            missing.discard(rank)
        return rows

    def describe(self, rows: list[Row]) -> dict[str, Any]:
        """The part of the result file that consists of the ranks' rows."""
        known = [row for row in rows if row is not None]
        if self._engine is None:
            return {}
        network, pace = self._engine.network, self._engine.pacer.pace
        total = traffic.total(network, [row[0] for row in known])
        fidelity = summarise([row[1] for row in known], sum(row[2] for row in known), pace)
        return {"traffic": total.describe(network), "fidelity": fidelity, "pace": fidelity["pace"]}


def save_and_show(result: dict[str, Any], folder: Path, json: str | None, note: str, quiet: bool, full: bool) -> None:
    """Save the result of a program and its page, and print it with a note unless `quiet`.

    Raises
    ------
    CannotWrite
        Something could not be written, once all has been printed.
    """
    from emulator.report import page, terminal
    from emulator.report.views import view
    from emulator.run.console import make_console

    unwritten = results.keep(result, folder / results.RESULT, json)
    console = None if quiet else make_console()
    if console is not None:
        console.print()
        terminal.show(view(results.plain(result)), console, full)
        if note:
            console.print(note)
    if unwritten := page.keep(folder, result, console, unwritten):
        raise unwritten


def _say(text: str) -> None:
    print(f"note: {text}", file=sys.stderr, flush=True)
