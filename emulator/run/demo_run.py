"""A run of a demo on the ranks of a job: its communicator, clock, console and result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mpi4py import MPI

from emulator import carrier, results
from emulator.control import Control
from emulator.errors import CannotWrite, UsageError, on_root
from emulator.launch import mpirun
from emulator.run import console, launches
from emulator.run.stall import StallWatch

if TYPE_CHECKING:
    from emulator.measure.series import Series
    from emulator.network import Network
    from emulator.sim import SimulatedComm
    from emulator.trace.recorder import Recorder

T = TypeVar("T")


@dataclass(frozen=True)
class CommonOptions:
    """Values of the options that every demo has, with the same meaning everywhere."""

    net: str | Network | None
    pace: float | str
    compute: str
    sizes: list[int]
    ranks: list[int] | None
    budget: float
    seed: int
    out: str | None
    json: str | None
    quiet: bool
    full: bool = False
    trace: bool = False
    trace_limit: int | None = None


class Run:
    """The object that a demo receives: communicator, clock, options, result.

    Attributes
    ----------
    comm : the communicator to use: MPI's own, or an emulated one with ``--net``
    control : a private duplicate of the real world for what costs no emulated time; its ranks wait asleep
    network, pace, clock : the network or None; the pace or None; ``"wall"``, ``"emulated"`` or ``"simulated"``
    folder : the run folder, the same on every rank
    measurements, fits, held_out, samples, extra : what rank 0 fills, in the form of the result file; `extra` adds
        fields to it, `samples` are rows of ``samples.csv``
    """

    def __init__(self, name: str, common: CommonOptions, simulated: SimulatedComm | None = None) -> None:
        self.name = name
        self.options = common
        self.control: MPI.Intracomm = Control.beside(MPI.COMM_WORLD) if simulated is None else simulated.control.Dup()
        self.rank, self.size = self.control.Get_rank(), self.control.Get_size()
        self.seed, self.quiet = common.seed, common.quiet
        self.launch = self.on_root(launches.current)
        self.sizes, self.budget = common.sizes, common.budget / self.launch.of
        self.ranks = common.ranks
        self.console = None if self.rank or common.quiet else console.make_console()
        self.measurements: list[dict[str, Any]] = []
        self.fits: list[dict[str, Any]] = []
        self.held_out: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []
        self.under_way: list[Series] = []  # what is being measured now
        self.extra: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.failures: list[str] = []
        self.unwritten: CannotWrite | None = None  # what could not be written, which ends the run with status 1
        self._subs: dict[int, Any] = {}
        self._shown = 0  # lines of the view that have been printed
        self.network: Any
        if simulated is not None:
            self.network, self.clock = simulated.engine.network, "simulated"
        else:
            self.network = self.on_root(lambda: self._network(common.net))
            self.clock = "wall" if self.network is None else "emulated"
        self.pace: float | str | None = None if self.network is None else common.pace
        self.comm: MPI.Intracomm = self._carrier(common) if simulated is None else simulated
        hosts = self.control.gather(MPI.Get_processor_name())
        self.on_root(lambda: results.check_writable(common.json))
        self.folder: Path = self.on_root(lambda: results.run_folder(name, self.launch.folder or common.out))
        self._recorder = self._recording(common)
        self._stalls = None if simulated is not None else StallWatch(self.comm, self.control, self._stall_console())
        self.result: dict[str, Any] = {}
        if self.rank == 0:
            self.result = results.new(
                name, _command(simulated is not None, self.size), ranks=self.size, hosts=hosts, clock=self.clock,
                pace=self.pace, network=None if self.network is None else self.network.describe(),
            )  # fmt: skip
        self.on_root(lambda: launches.take_up(self))

    def _stall_console(self) -> Any:
        """Where to print who waits for whom: above the bar on a terminal, else beside the results."""
        if self.console is None or self.console.is_terminal:
            return self.console
        return console.make_console(stderr=True)

    def _network(self, net: str | Network | None) -> Network | None:
        """The network for all ranks of the job, from a preset's name, a file, or an object."""
        if net is None:
            return None
        from emulator.network import load

        return (load(net) if isinstance(net, str) else net).sized(self.size)

    def _carrier(self, common: CommonOptions) -> MPI.Intracomm:
        if self.network is None:
            if not common.trace:
                return MPI.COMM_WORLD.Dup()
            from emulator.trace import traced_mpi

            return traced_mpi.traced(MPI.COMM_WORLD.Dup())
        from emulator.wire.automatic_pace import PATIENCE_S
        from emulator.wire.emulate import emulate

        searched = self.progress(PATIENCE_S, "finding the pace, s") if common.pace == "auto" else None
        with searched or nullcontext(console.Progress()) as bar:
            comm = emulate(
                MPI.COMM_WORLD, self.network, pace=common.pace, compute=common.compute, seed=common.seed,
                tick=bar.advance,
            )  # fmt: skip
        if comm.notice:
            self.warn(comm.notice)
        return comm

    def _recording(self, common: CommonOptions) -> Recorder | None:
        """Begin to record what this rank does, with ``--trace``."""
        if not common.trace:
            return None
        from emulator.trace import folder, tracing

        self.on_root(lambda: folder.prepare(self.folder))
        return tracing.begin(self.comm, self.folder, limit=common.trace_limit, clock=self.clock)

    def end_recording(self) -> None:
        """End the recording of ``--trace`` and add the timeline to the result; collective."""
        if self._recorder is None:
            return
        from emulator.trace import folder, tracing

        tracing.end(self.comm, self._recorder)
        self.control.Barrier()
        timeline = self.on_root(lambda: folder.conclude(self.folder))
        if self.rank == 0:
            self.extra["timeline"] = timeline

    def discard(self) -> None:
        """Remove the folder of a rejected run, on rank 0."""
        if self._recorder is not None:
            from emulator.trace import folder

            folder.discard(self.folder)
        results.discard(self.folder)

    def now(self) -> float:
        """Seconds on this run's clock: emulated time on an emulated network, else wall time."""
        return carrier.of(self.comm).now()

    def sub(self, p: int) -> MPI.Intracomm | None:
        """The communicator of the first `p` ranks; None on the others. Collective over all ranks.

        Raises
        ------
        UsageError
            `p` is not between 1 and the size of the job.
        """
        self._check_count(p)
        if p not in self._subs:
            self._subs[p] = self.comm.Split(0 if self.rank < p else MPI.UNDEFINED, self.rank)
        return self._subs[p] if self.rank < p else None

    def _check_count(self, p: int) -> None:
        if not 1 <= p <= self.size:
            raise UsageError(f"--ranks must lie between 1 and this job's {self.size} ranks, got {p}: start more ranks")

    def sub_sizes(self, default: Sequence[int] = (2, 4, 8, 16)) -> list[int]:
        """Rank counts to measure: those requested, else `default` limited to the job, always with the whole job."""
        if self.ranks is None:
            return sorted({p for p in default if p <= self.size} | {self.size})
        for p in self.ranks:
            self._check_count(p)
        return self.ranks

    def on_root(self, function: Callable[[], T]) -> T:
        """Call `function` on rank 0 and return its value, or raise its error, on every rank."""
        return on_root(self.control, function)

    def echo(self, *renderables: Any) -> None:
        """Print strings or rich renderables, on rank 0."""
        if self.console is not None:
            self.console.print(*renderables)

    def show(self, ended: bool = False) -> None:
        """On rank 0, print what is known of the result and was not printed before.

        The view of a growing result begins with what it gave before; what is said of all of it waits until it has
        ended. Failures are on the standard error already.
        """
        if self.console is not None:
            from emulator.report import terminal
            from emulator.report.views import view

            left: dict[str, Any] = {"failures": []} if ended else {"failures": [], "warnings": [], "fidelity": None}
            items = view(results.plain(self._content() | left))
            if not ended and self.launch.number > 1:  # the first launch has printed it
                self._shown = sum(1 for _ in terminal.lines(items, self.console.width, self.options.full))
            elif not ended or self.launch.last:
                self._shown = terminal.show(items, self.console, self.options.full, self._shown)

    def warn(self, text: str) -> None:
        """Add a warning to the result, with which it is printed once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def fail(self, text: str) -> None:
        """Record a failed check, which only rank 0 reports: the run continues, and its exit status is 1."""
        self.failures.append(text)
        if self.rank == 0:
            print(f"FAILED: {text}", file=sys.stderr, flush=True)

    def progress(self, total: float, label: str = "") -> AbstractContextManager[console.Progress]:
        """Show progress and the time left: ``with run.progress(10) as bar: bar.advance()``."""
        return console.progress(self.console, total, label)

    def _content(self) -> dict[str, Any]:
        """The result as it would be saved now."""
        return self.result | {
            "measurements": self.measurements,
            "fits": self.fits,
            "held_out": self.held_out,
            "warnings": self.warnings,
            "failures": self.failures,
            **self.extra,
        }

    def save(self) -> Path | None:
        """Write the result and the samples, on rank 0; returns the path of the result file."""
        if self.rank != 0:
            return None
        self.result = self._content()
        path = self.folder / results.RESULT
        problem = results.keep(self.result, path, self.options.json, samples=self.samples)
        self.unwritten = problem.beside(self.unwritten) if problem else self.unwritten
        return path

    def leave_page(self) -> None:
        """On rank 0, write the page of the saved result beside it, and print where it is."""
        if self.rank == 0 and self.launch.last:
            from emulator.report import page

            self.unwritten = page.keep(self.folder, self.result, self.console, self.unwritten)

    def save_unfinished(self) -> bool:
        """Save what the demo and its measurements have so far; returns whether the run folder has a result."""
        from emulator.measure import terms

        if self.launch.number > 1:  # the launches before this one have left a whole result
            return True
        for series in self.under_way:
            if series.seconds:
                del series.seconds[len(series.skews) :]  # the two grow one after the other
                self.measurements.append(terms.measurement(series))
                self.samples += series.rows()
        self.warnings.append("ended early: the measurements are incomplete")
        if self.measurements or self.extra:
            self.save()
            return self.unwritten is None
        return False


def _command(simulated: bool, ranks: int) -> list[str]:
    """The command line recorded in the result."""
    return ["python", *mpirun.this_program()] if simulated else mpirun.this_job(ranks)
