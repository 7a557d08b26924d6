"""Messages of MPI itself, as `TracedComm` tells of them; ranks on MPI, without an emulated network."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator import carrier
from emulator.trace import activity, loading, perfetto, traced_mpi, tracing
from emulator.trace.critical_path import TRANSFER, by_kind, critical_path
from emulator.trace.loading import Trace
from primitives.collectives.all_reduce import all_reduce
from tests.emulator.trace.perfetto_format import checked
from tests.ranks import on_ranks


def _recorded(comm: Any, program: Any) -> Trace | None:
    """Run a program on a traced communicator; gives the trace on rank 0."""
    folder = Path(comm.bcast(tempfile.mkdtemp() if comm.rank == 0 else None))
    traced = traced_mpi.traced(comm.Dup())
    recorder = tracing.begin(traced, folder, clock="wall")
    program(traced)
    tracing.end(traced, recorder)
    traced.Free()
    comm.Barrier()
    return loading.load(folder) if comm.rank == 0 else None


def _every_form(comm: Any) -> None:
    """Each rank sends to the next and receives from the one before, in every way that there is."""
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    out, box = np.arange(100.0), np.zeros(100)
    comm.Sendrecv(out, right, 1, box, left, 1)
    assert comm.sendrecv("word", right, 2, None, left, 2) == "word"
    request = comm.Irecv(box, MPI.ANY_SOURCE, 3)
    comm.Send(out, right, 3)
    request.Wait()
    requests = [comm.Irecv(box, left, 4), comm.Isend(out, right, 4)]
    MPI.Request.Waitall(requests)
    persistent = [comm.Recv_init(box, left, 5), comm.Send_init(out, right, 5)]
    for _ in range(3):
        MPI.Prequest.Startall(persistent)
        while not MPI.Request.Testall(persistent):
            pass
    for one in persistent:
        one.Start()
    pending = list(persistent)
    while (index := MPI.Request.Waitany(pending)) != MPI.UNDEFINED:
        pending.pop(index)
    for one in persistent:
        one.Free()
    out_going = comm.isend({"a": 1}, right, 6)
    assert comm.irecv(None, left, 6).wait() == {"a": 1}
    out_going.wait()
    comm.isend("probed", right, 7)
    assert comm.mprobe(left, 7).recv() == "probed"
    part = comm.Split(comm.rank % 2, -comm.rank)
    part.Sendrecv(out, (part.rank + 1) % part.size, 1, box, (part.rank - 1) % part.size, 1)
    part.Free()
    comm.Barrier()


@on_ranks(4)
def test_every_message_has_both_ends(comm: Any) -> None:
    trace = _recorded(comm, _every_form)
    if trace is not None:
        sent = sum(int((one.rows["kind"] == 1).sum()) for one in trace.ranks)
        received = sum(int((one.rows["kind"] == 2).sum()) for one in trace.ranks)
        assert (sent, received, len(list(perfetto.messages(trace)))) == (4 * 11,) * 3
        with tempfile.TemporaryDirectory() as folder:
            found = checked(perfetto.write(trace, Path(folder) / perfetto.FILE))
        assert len(found["s"]) == sent
        for one in trace.ranks:
            spans = activity.spans(trace, one)
            assert math.isclose(sum(activity.shares(spans).values()), one.ended - one.began, rel_tol=1e-6)


@on_ranks(4)
def test_an_all_reduce_over_mpi_adds_up(comm: Any) -> None:
    """The answer is right, and the path from the first to the last event has no gap."""

    def program(traced: Any) -> None:
        total = np.zeros(5000)
        all_reduce(traced, np.full(5000, traced.rank + 1.0), total)
        assert np.all(total == 10.0)

    trace = _recorded(comm, program)
    if trace is not None:
        path = critical_path(trace)
        assert math.isclose(math.fsum(part.until - part.since for part in path), trace.seconds, rel_tol=1e-9)
        assert by_kind(path)[TRANSFER] > 0


@on_ranks(4)
def test_the_path_goes_to_the_rank_that_computed(comm: Any) -> None:
    """Rank 2 sleeps, and all others wait for it: at a receive, then at a barrier."""

    def program(traced: Any) -> None:
        own = carrier.of(traced)
        if traced.rank == 2:
            traced.Recv(bytearray(1), 0)  # rank 0 begins to wait
            own.compute(0.05)
            traced.Send(bytes(10), 0)
        elif traced.rank == 0:
            traced.Send(bytes(1), 2)
            traced.Recv(bytearray(10), 2)
        own.compute(0.05 if traced.rank == 1 else 0.0)
        traced.Barrier()

    trace = _recorded(comm, program)
    if trace is not None:
        assert by_kind(critical_path(trace))[activity.COMPUTING] >= 0.05
        spans = activity.spans(trace, trace.ranks[0])
        assert activity.waited_for(spans)[2] > 0.02


@on_ranks(3)
def test_a_traced_communicator_is_mpi_s_to_its_carrier(comm: Any) -> None:
    traced = traced_mpi.traced(comm.Dup())
    own = carrier.of(traced)
    assert own is carrier.of(traced)
    assert not own.timed
    assert own.fidelity() is None
    copy = traced.Dup()
    assert type(copy) is traced_mpi.TracedComm
    assert carrier.of(copy).instruments is own.instruments
    copy.Free()
    traced.Free()
