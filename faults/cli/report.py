"""The result of a command: make the run folder, save the result after each job, print it at the end.

The result is saved before it is printed: a closed pipe, Ctrl-C or SIGTERM loses nothing that was measured.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from emulator import results
from emulator.errors import CannotWrite
from emulator.launch import mpirun
from emulator.launch.foreground import Ended, ending_in_order
from emulator.network import load
from emulator.report import page, terminal, views
from emulator.report.views import timeline
from emulator.run import console
from emulator.run.interrupts import INTERRUPTED
from emulator.run.options import sharing
from emulator.trace import folder as traces
from emulator.trace.recorder import TRACES
from faults.drill.request import Request
from faults.launch import live
from faults.simulate.costs import JobCosts


def over(request: Request, ranks: int) -> dict[str, Any]:
    """Result fields about the network of `ranks` ranks, and the given times of simulated jobs.

    Empty on bare MPI.
    """
    if request.network is None:
        return {}
    return {
        "network": load(request.network).sized(ranks).describe(),
        "clock": "simulated" if request.simulate else "emulated",
        "pace": None if request.pace == "none" else request.pace,
        "given": JobCosts().line() if request.simulate else None,
    }


class Report:
    """The result of one command.

    Attributes
    ----------
    dry_run : only say what would happen
    screen : where to print; None where nothing shall be
    """

    def __init__(
        self, name: str, dry_run: bool, out: str | None, json_file: str | None, quiet: bool, full: bool = False
    ) -> None:
        self.dry_run, self.screen = dry_run, None if quiet else console.make_console()
        self._name, self._out, self._json_file, self._full = name, out, json_file, full
        self._record: dict[str, Any] = {}
        self._path = Path()
        self._unwritten: CannotWrite | None = None
        self._unshown = False  # there are results that have not been printed

    @contextmanager
    def begun(self, ranks: int, given: str | None = None, **about: Any) -> Iterator[Path]:
        """Make the run folder for the block; a rejected run leaves none.

        Parameters
        ----------
        given : of simulated jobs, the times that they are told
        ranks, **about : of `results.new`

        Raises
        ------
        UsageError
            The folder or the file of ``--json`` cannot be written, or there is no MPI.
        CannotWrite
            At the end, when all has been printed: the result could not be written.
        """
        from importlib import metadata  # which --help and a refusal do not need

        mpi = mpirun.find_mpi()
        results.check_writable(self._json_file)
        chosen_before = self._out is not None and Path(self._out).exists()
        folder = results.run_folder(self._name, self._out)
        self._path = folder / results.RESULT
        try:
            with ending_in_order():
                self._record = results.new(self._name, ["python", *mpirun.this_program()], ranks=ranks, **about)
                # Only the jobs load MPI, so the environment's record of this process knows of none.
                mpis = {"mpi": f"{mpi.provider} v{mpi.version}", "mpi4py": metadata.version("mpi4py")}
                self._record["environment"] |= mpis
                self._record |= {"given": given} if given else {}
                yield folder
            if self._unwritten is not None:
                raise self._unwritten
        except (Ended, KeyboardInterrupt) as end:
            how, status = (
                (f"ended by {end.signal.name}", end.code) if isinstance(end, Ended) else ("interrupted", INTERRUPTED)
            )
            kept = f"what was measured until then is in {folder}" if self._path.exists() else "nothing was measured"
            print(f"{how}: {kept}", file=sys.stderr, flush=True)
            sys.exit(status)
        except (CannotWrite, OSError):  # a full disk ends the run, and costs nothing of what was measured before
            if self._unshown:
                self.show()
            raise
        finally:
            if not chosen_before:
                results.discard(folder)

    def save(self, **parts: Any) -> None:
        """Add to the result and write all of it, also where ``--json`` says."""
        self._record |= parts
        self._unshown = True
        self._unwritten = results.keep(self._record, self._path, self._json_file)

    def add_timeline(self, job: Path, of: str) -> None:
        """Add the timeline of the job in that folder, if it was traced; `of` names the job."""
        if (job / TRACES).is_dir():
            self.save(timeline=traces.conclude(job) | {"of": of})

    def say(self, line: str) -> None:
        """Print a line before the result."""
        if self.screen:
            self.screen.print(line)

    def show(self) -> None:
        """Print the saved result as ``python -m emulator report`` does, write its page, and print where that is."""
        self._unshown = False
        if self.screen:
            terminal.show(views.body(self._record), self.screen, self._full)
            if "timeline" in self._record:
                terminal.show(timeline.brief(self._record["timeline"]), self.screen)
        self._unwritten = page.keep(self._path.parent, self._record, self.screen, self._unwritten)

    @contextmanager
    def progress(self, total: int, label: str, ranks: bool = True) -> Iterator[console.Progress]:
        """Show a bar with the remaining time and a table of the ranks on a terminal, or plain lines in a pipe.

        Parameters
        ----------
        ranks : show the ranks of the jobs that are launched meanwhile
        """
        with console.progress(self.screen, total, label) as bar, live.on(bar) if ranks else nullcontext():
            yield bar


def reporting(name: str, dry_run: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that all have; the function gets a `Report` in their place.

    Parameters
    ----------
    name : of the run folder and the result's ``demo``
    dry_run : what ``--dry-run`` does, for its help
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @sharing("out", "json", "quiet", "full", out={"help": f"Run folder; absent: runs/{name}/<UTC time>."})
        @functools.wraps(function)
        def command(
            *, dry_run: bool, out: str | None, json: str | None, quiet: bool, full: bool, **options: Any
        ) -> None:
            function(report=Report(name, dry_run, out, json, quiet, full), **options)

        return click.option("--dry-run", is_flag=True, help=dry_run)(command)

    return decorate
