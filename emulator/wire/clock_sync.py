"""Synchronise clocks of several hosts: offset and drift against rank 0's, and their remaining error.

`time.perf_counter` counts from an instant of each host's own, at a rate of its own. One exchange

::

    client   sent ------------------> received        offset = served - (sent + received) / 2
                  \\               /                    off by (received - sent) / 2 at most
    server          --- served ---

bounds the offset by half its round trip, so of a batch of exchanges only the quickest counts. Batches spread over a
span of time give points (local time, offset); a line through the better half of them gives the drift. Hosts learn
down a binomial tree, a host that knows rank 0's time serving the next ones with it: log2(hosts) rounds. Ranks on one
host share its clock and take their host's line as it is; where all ranks share one clock nothing is measured.

The residual is what a fresh exchange with rank 0 finds wrong afterwards. It bounds what may be emulated across
hosts: `refuse_below`. The drift is a forecast: measure again when a run is many times longer than the span.

Source: Hunold and Carpen-Amarie, "Hierarchical clock synchronization in MPI" (HCA3), IEEE CLUSTER 2018; offsets by
minimum round trip after Cristian (1989).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI

from emulator.core.wall_clock import wait_until
from emulator.errors import UsageError

Clock = Callable[[], float]
_TAG = 7
_TRUST = 5.0


@dataclass(frozen=True)
class Exchange:
    """One question for the time: local clock at `sent` and `received`, the server's clock at `served` (s)."""

    sent: float
    served: float
    received: float

    @property
    def round_trip(self) -> float:
        """Seconds between question and answer."""
        return self.received - self.sent

    @property
    def local(self) -> float:
        """Local time at the middle of the exchange."""
        return self.sent + self.round_trip / 2

    @property
    def offset(self) -> float:
        """Server's time minus local time in seconds, with an error of up to half a round trip."""
        return self.served - self.local


@dataclass(frozen=True)
class Line:
    """Rank 0's time as a function of a local clock: ``local + offset + drift * (local - origin)``, in seconds."""

    offset: float = 0.0
    drift: float = 0.0
    origin: float = 0.0

    def reference(self, local: float) -> float:
        """Convert a local time to rank 0's."""
        return local + self.offset + self.drift * (local - self.origin)

    def local(self, reference: float) -> float:
        """Convert rank 0's time to a local one: the inverse of `reference`."""
        return self.origin + (reference - self.origin - self.offset) / (1 + self.drift)


def fit(points: Sequence[Exchange]) -> tuple[Line, float]:
    """Fit a line to the faster half of some exchanges.

    Returns
    -------
    Line, bound
        The line, and half of the longest round trip that it rests on (seconds).

    Raises
    ------
    UsageError
        There are no exchanges.
    """
    if not points:
        raise UsageError("a clock needs at least 1 exchange to be synchronised, got 0: raise points")
    quick = sorted(points, key=lambda point: point.round_trip)[: max(2, (len(points) + 1) // 2)]
    origin = sum(point.local for point in quick) / len(quick)
    apart = [point.local - origin for point in quick]
    offset = sum(point.offset for point in quick) / len(quick)
    spread = sum(x * x for x in apart)
    drift = 0.0
    if spread > 0:
        drift = sum(x * (point.offset - offset) for x, point in zip(apart, quick, strict=True)) / spread
    return Line(offset, drift, origin), max(point.round_trip for point in quick) / 2


@dataclass(frozen=True)
class Sync:
    """This rank's clock against rank 0's.

    Attributes
    ----------
    line : from this rank's clock to rank 0's
    residual : how far off the worst host's line was found to be by a fresh exchange with rank 0 (seconds)
    bound : half of the longest round trip that any line rests on: what the residual cannot see (seconds)
    clocks : number of different clocks among the ranks
    """

    line: Line
    residual: float
    bound: float
    clocks: int
    clock: Clock = time.perf_counter

    @property
    def smallest_latency(self) -> float:
        """The smallest latency (wall s) that can be emulated between these clocks: see `refuse_below`."""
        return _TRUST * self.residual

    def now(self) -> float:
        """Rank 0's time now, in seconds."""
        return self.line.reference(self.clock())


def refuse_below(residual: float, latency: float) -> None:
    """Refuse, by a UsageError, to emulate a latency below `_TRUST` times the error of the hosts' clocks.

    Parameters
    ----------
    residual : what the clocks disagree by, in seconds (`Sync.residual`)
    latency : the smallest latency of the emulated network in wall seconds, that is, times the pace
    """
    if latency < _TRUST * residual:
        raise UsageError(
            f"across hosts a latency must be at least {_TRUST:g} times what their clocks disagree by "
            f"({residual * 1e6:.3g} us), got {latency * 1e6:.3g} us: raise the latency or --pace, use --pace none, "
            f"or run on one host"
        )


def clock_name() -> str:
    """Name of the clock that `time.perf_counter` reads: host, boot and time namespace. Equal names are one clock."""
    parts = [MPI.Get_processor_name()]
    for source in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/time")):
        try:
            parts.append(str(source.readlink()) if source.is_symlink() else source.read_text().strip())
        except OSError:
            continue  # not Linux, or an older one: the host's name decides
    return " ".join(parts)


def synchronise(
    comm: MPI.Intracomm,
    *,
    clock: Clock = time.perf_counter,
    name: str | None = None,
    points: int = 16,
    exchanges: int = 20,
    span: float = 0.5,
) -> Sync:
    """Measure this rank's clock against rank 0's; collective over `comm`, a bare communicator.

    Parameters
    ----------
    clock : reads this rank's clock in seconds
    name : of this rank's clock; ranks that give equal names share a clock. Default: `clock_name`
    points : batches of exchanges that a line is drawn through
    exchanges : exchanges in a batch, of which the quickest counts
    span : seconds over which the batches are spread

    Returns
    -------
    Sync
        The same residual, bound and number of clocks on every rank; the identity where all share one clock.
    """
    private = comm.Dup()
    try:
        names = private.allgather(clock_name() if name is None else name)
        leaders = [names.index(each) for each in dict.fromkeys(names)]
        if len(leaders) == 1:
            return Sync(Line(), 0.0, 0.0, 1, clock)
        mine = names.index(names[private.rank])
        line, bound, error = Line(), 0.0, 0.0
        if mine == private.rank:
            line, bound = _learn(private, leaders, clock, points, exchanges, span)
            error = _check(private, leaders, line, clock, exchanges)
        # All other ranks sleep until the leaders are done, so as not to take the cores from them.
        done = private.Ibarrier()
        wait_until(done.Test, longest=2e-3)
        figures = private.allgather((line, bound, error))
        # By chance a residual comes out as nothing; no clock tells less than its resolution.
        resolution = time.get_clock_info("perf_counter").resolution
        residual, worst = max(resolution, *(f[2] for f in figures)), max(f[1] for f in figures)
        return Sync(figures[mine][0], residual, worst, len(leaders), clock)
    finally:
        private.Free()


def _learn(
    comm: MPI.Intracomm, leaders: list[int], clock: Clock, points: int, exchanges: int, span: float
) -> tuple[Line, float]:
    """Learn rank 0's time from a leader that knows it, then serve others, down a binomial tree."""
    me = leaders.index(comm.rank)
    line, bound = Line(), 0.0
    step = 1
    while step < len(leaders):
        if me < step and me + step < len(leaders):
            known = line
            _serve(comm, leaders[me + step], points, exchanges, lambda: known.reference(clock()))  # noqa: B023
        elif step <= me < 2 * step:
            quickest = [_ask(comm, leaders[me - step], exchanges, clock, span / points) for _ in range(points)]
            line, bound = fit(quickest)
        step *= 2
    return line, bound


def _check(comm: MPI.Intracomm, leaders: list[int], line: Line, clock: Clock, exchanges: int) -> float:
    """Ask rank 0 itself, one leader after the other, for the line's error now."""
    if comm.rank != leaders[0]:
        asked = _ask(comm, leaders[0], exchanges, clock)
        return abs(asked.served - line.reference(asked.local))
    for leader in leaders[1:]:
        _serve(comm, leader, 1, exchanges, clock)
    return 0.0


def _serve(comm: MPI.Intracomm, client: int, batches: int, exchanges: int, read: Clock) -> None:
    """Answer batches of questions with the time from `read`."""
    cell = np.zeros(1)
    for _ in range(batches):
        wait_until(lambda: comm.Iprobe(client, _TAG))  # asleep between batches
        for _ in range(exchanges + 1):
            comm.Recv(cell, client, _TAG)
            cell[0] = read()
            comm.Send(cell, client, _TAG)


def _ask(comm: MPI.Intracomm, server: int, exchanges: int, clock: Clock, pause: float = 0.0) -> Exchange:
    """Ask one batch of questions after a pause in seconds; returns the fastest exchange."""
    time.sleep(pause)
    cell = np.zeros(1)
    # The first one wakes the server and waits asleep, because the server may have others to serve before.
    comm.Send(cell, server, _TAG)
    wait_until(comm.Irecv(cell, server, _TAG).Test)
    made = []
    for _ in range(exchanges):
        sent = clock()
        comm.Send(cell, server, _TAG)
        comm.Recv(cell, server, _TAG)
        made.append(Exchange(sent, float(cell[0]), clock()))
    return min(made, key=lambda exchange: exchange.round_trip)
