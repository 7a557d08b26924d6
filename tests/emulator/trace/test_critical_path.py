"""The critical path against closed forms, on simulated ranks and on traces made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from emulator.trace import activity
from emulator.trace.critical_path import (
    BANDWIDTH,
    CARD,
    LATENCY,
    FasterNetwork,
    Part,
    by_kind,
    critical_path,
)  # fmt: skip
from emulator.trace.loading import Trace
from primitives.collectives.all_reduce import all_reduce
from tests.emulator.trace.recorded import ALPHA, BETA, record


def parts_of(trace: Trace) -> tuple[list[Part], dict[str, float]]:
    """The path, after a check that its parts follow each other and add up to the time of the trace."""
    path = critical_path(trace)
    assert [part.since for part in path[1:]] == [part.until for part in path[:-1]]
    assert (path[0].since, path[-1].until) == (trace.since, trace.until)
    assert math.fsum(part.until - part.since for part in path) == pytest.approx(trace.seconds, rel=1e-12)
    return path, by_kind(path)


@pytest.mark.parametrize("p", [2, 5, 8])
def test_ring_all_reduce(p: int) -> None:
    """2(p-1)(alpha + n/p beta), of which no time is spent on anything but latency and bandwidth."""
    n = 1000 * p * 8

    def program(comm: Any) -> None:
        all_reduce(comm, np.ones(1000 * p), algorithm="ring", segment=0)

    trace = record(program, p)
    _, parts = parts_of(trace)
    latency, bandwidth = 2 * (p - 1) * ALPHA, 2 * (p - 1) * n / p * BETA
    assert trace.until == pytest.approx(latency + bandwidth, rel=1e-12)
    assert parts == {LATENCY: pytest.approx(latency, rel=1e-9), BANDWIDTH: pytest.approx(bandwidth, rel=1e-9)}
    faster = FasterNetwork.of(critical_path(trace))
    assert faster.seconds == pytest.approx(trace.seconds, rel=1e-12)
    assert faster.half_alpha == pytest.approx(latency / 2 + bandwidth, rel=1e-9)
    assert faster.half_beta == pytest.approx(latency + bandwidth / 2, rel=1e-9)


def test_incast() -> None:
    """p-1 senders and one card: alpha, the last message's n beta, and the time in which the card serves the others."""
    p, n = 6, 10_000

    def program(comm: Any) -> None:
        if comm.rank:
            comm.Send(bytes(n), 0)
        else:
            for source in range(1, p):
                comm.Recv(bytearray(n), source)

    _, parts = parts_of(record(program, p))
    assert parts == {
        LATENCY: pytest.approx(ALPHA),
        BANDWIDTH: pytest.approx(n * BETA),
        CARD: pytest.approx((p - 2) * n * BETA),
    }


def test_straggler() -> None:
    """The path leads to the rank that computed longest, and every other one waited for it."""
    p, n, late = 4, 1000, 3e-3

    def program(comm: Any) -> None:
        comm.compute(late if comm.rank == 2 else 1e-3)
        if comm.rank:
            comm.Send(bytes(n), 0)
        else:
            for source in (1, 2, 3):
                comm.Recv(bytearray(n), source)

    trace = record(program, p)
    path, parts = parts_of(trace)
    assert parts == {
        activity.COMPUTING: pytest.approx(late), LATENCY: pytest.approx(ALPHA), BANDWIDTH: pytest.approx(n * BETA),
    }  # fmt: skip
    assert path[0].rank == 2
    assert path[0].kind == activity.COMPUTING
    spans = activity.spans(trace, trace.ranks[0])
    assert next(iter(activity.waited_for(spans))) == 2


def test_a_phase_is_recovery_if_the_rank_says_so() -> None:
    """Whatever it is called: the seconds of such a phase are no computing, up to the next phase."""

    def program(comm: Any) -> None:
        for name, recovery, seconds in (("agree", True, 1e-3), ("mend", True, 2e-3), ("rebuild", False, 4e-3)):
            comm.carrier.phase(name, recovery=recovery)
            comm.compute(seconds)

    trace = record(program, 1)
    _, parts = parts_of(trace)
    assert parts == {activity.RECOVERY: pytest.approx(3e-3), activity.COMPUTING: pytest.approx(4e-3)}
    assert activity.recoveries(trace.ranks[0]) == [(0.0, pytest.approx(3e-3))]


def test_ranks_behind_each_other_on_the_sender_s_card() -> None:
    """Two messages of one rank: the second waits until the first has left."""
    n = 100_000

    def program(comm: Any) -> None:
        if comm.rank == 0:
            requests = [comm.Isend(bytes(n), 1), comm.Isend(bytes(n), 2)]
            for request in requests:
                request.Wait()
        else:
            comm.Recv(bytearray(n), 0)

    _, parts = parts_of(record(program, 3))
    assert parts == {
        CARD: pytest.approx(n * BETA), LATENCY: pytest.approx(ALPHA), BANDWIDTH: pytest.approx(n * BETA),
    }  # fmt: skip


@pytest.mark.parametrize("times", [1, 2])
def test_aligned_clocks_lead_to_the_rank_that_was_last(times: int) -> None:
    def program(comm: Any) -> None:
        comm.compute(2e-3 if comm.rank == 1 else 1e-3)
        for _ in range(times):  # the second time, no rank waits
            comm.align()
        comm.compute(1e-3 if comm.rank == 0 else 0.0)

    path, parts = parts_of(record(program, 3))
    assert parts == {activity.COMPUTING: pytest.approx(3e-3)}
    assert [part.rank for part in path] == [1, 0]


def test_a_rank_that_only_sends() -> None:
    """Its time is that of its own card."""
    n = 1_000_000

    def program(comm: Any) -> None:
        comm.compute(1e-3)
        if comm.rank == 0:
            comm.Send(bytes(n), 1)
            comm.compute(1e-2)
        else:
            comm.Recv(bytearray(n), 0)

    _, parts = parts_of(record(program, 2))
    assert parts == {activity.COMPUTING: pytest.approx(1.1e-2), BANDWIDTH: pytest.approx(n * BETA)}


@pytest.mark.parametrize("net", ["10gbe", "wan", "cloud-zone"])
def test_any_program_adds_up(net: str) -> None:
    """Random messages with random computing, over networks with jitter and loss: the parts give the whole time."""

    def program(comm: Any) -> None:
        draw = np.random.default_rng(comm.rank)
        for turn in range(20):
            comm.compute(float(draw.exponential(1e-4)))
            out = comm.Isend(bytes(int(draw.integers(0, 50_000))), (comm.rank + 1 + turn) % comm.size, tag=turn)
            comm.Recv(bytearray(60_000), (comm.rank - 1 - turn) % comm.size, tag=turn)
            if turn % 3:
                out.Wait()

    trace = record(program, 7, net=net)
    parts_of(trace)
    for one in trace.ranks:
        spans = activity.spans(trace, one)
        assert math.fsum(activity.shares(spans).values()) == pytest.approx(one.ended - one.began, rel=1e-9)
        assert [span.since for span in spans[1:]] == [span.until for span in spans[:-1]]
