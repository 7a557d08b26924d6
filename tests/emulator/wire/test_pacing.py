"""The tie to the wall: it changes no emulated time, orders what has no order of its own, and can be found."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from mpi4py import MPI

import emulator
from emulator.errors import UsageError
from emulator.wire import automatic_pace, pacing
from tests.emulator.clusters import emulated, exactly, story
from tests.emulator.small_networks import ALPHA, BETA, plain
from tests.ranks import on_ranks


@on_ranks(4)
def test_a_paced_run_has_the_same_emulated_time(comm: MPI.Intracomm) -> None:
    """Pacing holds results back and changes none of them; it never returns one early."""
    free, paced = (emulator.emulate(MPI.COMM_WORLD, plain(), pace=pace) for pace in ("none", 20))
    starts = [free.align()]
    begin = time.perf_counter()  # before the instant that paced time counts from; after it a rank may lose its core
    starts.append(paced.align())
    stories = [[t - start for t in story(world)] for world, start in zip((free, paced), starts, strict=True)]
    assert stories[0] == pytest.approx(stories[1], rel=1e-9)
    assert time.perf_counter() - begin >= 20 * stories[1][-1]
    fidelity = paced.fidelity()
    assert fidelity["pace"] == 20
    assert 0 <= fidelity["overrun_share"] <= 1
    assert fidelity["late_p99"] >= fidelity["late_p50"] >= 0


@on_ranks(4)
def test_an_automatic_pace_is_one_number_for_all(comm: MPI.Intracomm) -> None:
    world = emulator.emulate(MPI.COMM_WORLD, plain(alpha=2e-3), pace="auto")
    paces = comm.allgather(world.fidelity()["pace"])
    assert len(set(paces)) == 1
    assert paces[0] > 0
    assert world.traffic().messages == 0
    begin = world.align()
    assert begin == 0.0
    world.sendrecv(1, world.rank ^ 1, source=world.rank ^ 1)
    assert world.now() == exactly(2e-3 + len(MPI.pickle.dumps(1)) * BETA)


@on_ranks(4)
def test_an_automatic_pace_ends_somewhere_and_says_so(comm: MPI.Intracomm) -> None:
    """A latency of a nanosecond is not kept at any pace."""
    world = emulator.emulate(MPI.COMM_WORLD, plain(alpha=1e-9), pace="auto")
    assert world.engine.pacer.pace == automatic_pace.SLOWEST
    assert world.notice is not None
    assert "--pace auto stops at 20" in world.notice


@on_ranks(4)
def test_any_source_takes_the_earliest_when_paced(comm: MPI.Intracomm) -> None:
    """The message that arrives first in emulated time is first, whichever was physically sent first."""
    world = emulator.emulate(MPI.COMM_WORLD, plain(alpha=20e-3), pace=10)
    begin = world.align()
    if world.rank:
        # Rank 3 is the first in emulated time, rank 1 the last.
        world.engine.clock.t = begin + (3 - world.rank) * 0.5e-3
        world.send(world.rank, 0)
    else:
        assert [world.recv() for _ in range(3)] == [3, 2, 1]
    comm.Barrier()


@on_ranks(4)
def test_polling_sees_time_pass_when_paced(comm: MPI.Intracomm) -> None:
    """A timeout by the emulated clock ends, though no message ever comes."""
    world = emulator.emulate(MPI.COMM_WORLD, plain(), pace=5)
    begin = world.now()
    request = world.irecv(source=world.rank ^ 1, tag=77)
    while world.now() - begin < 5e-3:
        assert not request.test()[0]
        assert not world.Iprobe(tag=78)
    request.Cancel()
    request.wait()


@on_ranks(4)
def test_lateness_after_polling_does_not_enter_the_clock(comm: MPI.Intracomm) -> None:
    world = emulator.emulate(MPI.COMM_WORLD, plain(), pace=20)
    begin = world.align()
    requests = [world.Irecv(bytearray(8), world.rank ^ 1), world.Isend(bytes(8), world.rank ^ 1)]
    while not requests[0].Test():
        pass
    while not MPI.Request.Testall(requests):
        pass
    due = begin + ALPHA + 8 * BETA
    while world.engine.pacer.emulated() < due + ALPHA:
        pass
    assert world.now() == exactly(due)


class _Board:
    """A machine's cells, without the machine."""

    def __init__(self, machines: int) -> None:
        self.pacing, self.machines = [0.0], machines

    def lock(self, which: int) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize(("machines", "shift"), [(1, 5.0), (2, 0.0)])
def test_ranks_that_were_away_together_shift_time_once(
    monkeypatch: pytest.MonkeyPatch, machines: int, shift: float
) -> None:
    """And on several machines, whose clocks must go on agreeing, not at all."""
    board: Any = _Board(machines)
    pacers = [pacing.Pacer(board, 10.0, 1e-3, 0.0) for _ in range(2)]
    monkeypatch.setattr(pacing, "perf_counter", lambda: 15.0)
    for pacer in pacers:
        pacer.record(due=1.0, held=False)  # at 10 s on the wall
    assert board.pacing[0] == shift


@on_ranks(4)
def test_a_usage_error_on_rank_0_is_everybodys(comm: MPI.Intracomm) -> None:
    with pytest.raises(UsageError, match="no-such-network"):
        emulator.emulate(MPI.COMM_WORLD, "no-such-network")
    with pytest.raises(UsageError, match="pace"):
        emulator.emulate(MPI.COMM_WORLD, plain(), pace=-1)
    with pytest.raises(UsageError, match="pace"):
        emulator.emulate(MPI.COMM_WORLD, plain(), pace="fast")
    with pytest.raises(UsageError, match="compute"):
        emulator.emulate(MPI.COMM_WORLD, plain(), compute="some")
    with pytest.raises(UsageError, match="once"):
        emulator.emulate(emulated(), plain())
