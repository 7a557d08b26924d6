"""Starting a demo as a user does, and reading what it leaves."""

from __future__ import annotations

import importlib
import re
import shlex
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from emulator import results
from emulator.commands.report import report
from emulator.launch import mpirun
from emulator.launch.job import start
from emulator.report import page
from emulator.report.views import view
from tests.emulator.report.widths import fits_every_width

_PROGRESS = re.compile(r".*: [\d.]+ of [\d.]+ after \d+ s")
WIDE = {"COLUMNS": "150"}  # so that the name of a test's folder fits a line
MOST_LINES = 42
"""Of one screen, 80 columns wide."""


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
    """Run ``python -m demos.<name>`` on `ranks` ranks; nothing of it may be left when it has ended.

    What a run prints must be what ``python -m emulator report`` prints of its folder, at any width without a cut value.
    """
    folder.mkdir(exist_ok=True)
    program = ["-m", f"demos.{name}", "--out", str(folder), *options]
    with open(folder / "output", "w+") as output, open(folder / "errors", "w+") as errors:
        with start(mpirun.command(ranks, program), extra_env=WIDE, stdout=output, stderr=errors) as started:
            status = started.wait(timeout=timeout)
        assert not started.leftovers()
        output.seek(0)
        errors.seek(0)
        printed, complaints = output.read(), errors.read()
    return _checked(Done(status, printed + complaints, folder), printed)


def simulate_demo(name: str, ranks: int, folder: Path, *options: str) -> Done:
    """Run ``python -m demos.<name> --simulate`` in this process, with the checks of `run_demo`.

    Results, emulated times and output are the same there (`tests.emulator.sim.test_agreement`);
    how the same demo starts, talks and ends as processes is tested beside it.
    """
    command = importlib.import_module(f"demos.{name}").main
    done = CliRunner().invoke(command, ["--simulate", str(ranks), "--out", str(folder), *options], env=WIDE)
    return _checked(Done(done.exit_code, done.output, folder), done.stdout)


def _checked(done: Done, printed: str) -> Done:
    """What a run that went well has printed is what the report of its folder prints, and its page is not too large."""
    if done.status == 0:
        assert same_as_reported(printed, done.folder) == page.where(done.folder).text
        assert (done.folder / page.PAGE).stat().st_size < 1_000_000
    return done


def refuse(comm: Any, name: str, options: str) -> str:
    """Start a demo's command in the ranks of this job, which refuse it alike; rank 0's line, the only one, everywhere.

    How refusals end mpirun and its exit status is tested in `tests.emulator.run.test_options`.
    """
    command = importlib.import_module(f"demos.{name}").main
    handler = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory() as own:
        folder = Path(comm.bcast(own)) / "run"
        comm.Barrier()  # ranks wait 2 s for others that refuse, which may have imported the demo later
        try:
            done = CliRunner().invoke(command, ["--out", str(folder), *shlex.split(options)])
        finally:
            signal.signal(signal.SIGTERM, handler)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        comm.Barrier()
        assert not folder.exists(), "a refused run leaves nothing"
        lines = [line for said in comm.allgather(done.stderr) for line in said.splitlines()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def refuse_simulated(name: str, ranks: int, options: str) -> str:
    """Start a demo's command on simulated ranks, which it refuses as `refuse` of real ones; the only line."""
    command = importlib.import_module(f"demos.{name}").main
    with tempfile.TemporaryDirectory() as own:
        folder = Path(own) / "run"
        words = ["--simulate", str(ranks), "--net", "home", "--out", str(folder), *shlex.split(options)]
        done = CliRunner().invoke(command, words)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        assert not folder.exists(), "a refused run leaves nothing"
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr


def same_as_reported(printed: str, folder: Path) -> str:
    """Compare what a run has printed with the report of its folder; returns the run's last line."""
    again = CliRunner().invoke(report, [str(folder)], env=WIDE)
    assert again.exit_code == 0, again.output
    screen = CliRunner().invoke(report, [str(folder)], env={"COLUMNS": "80"}).stdout.splitlines()
    assert len(screen) <= MOST_LINES, "\n".join(screen)
    # A run that takes long says every few seconds how far it is.
    *live, last = (line.rstrip() for line in printed.splitlines() if not _PROGRESS.match(line))
    assert live == [line.rstrip() for line in again.stdout.splitlines()]
    fits_every_width(list(view(results.load(folder))))
    return last
