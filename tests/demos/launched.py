"""Starting a demo as a user does, and reading what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator import results
from emulator.launch import mpirun


@dataclass
class Done:
    """A demo that has ended: its exit status, its output with its errors, its run folder."""

    status: int | None
    text: str
    folder: Path

    @property
    def result(self) -> dict[str, Any]:
        """The validated result file."""
        return results.load(self.folder)


def run_demo(name: str, ranks: int, folder: Path, *options: str, timeout: float = 180) -> Done:
    """Run ``python -m demos.<name>`` on `ranks` ranks; nothing of it may be left when it has ended."""
    folder.mkdir(exist_ok=True)
    program = ["-m", f"demos.{name}", "--out", str(folder), *options]
    with open(folder / "output", "w+") as output:
        with mpirun.start(mpirun.command(ranks, program), stdout=output, stderr=output) as started:
            status = started.wait(timeout=timeout)
        assert not started.leftovers()
        output.seek(0)
        return Done(status, output.read(), folder)
