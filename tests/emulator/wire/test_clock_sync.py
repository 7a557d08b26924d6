"""Clock synchronisation, with clocks that are wrong on purpose: on paper, and between ranks."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from emulator.wire.clock_sync import Exchange, Line, clock_name, fit, refuse_below, synchronise
from tests.ranks import on_ranks

offsets = st.floats(-1e4, 1e4)
drifts = st.floats(-1e-4, 1e-4)
delays = st.floats(1e-7, 1e-2)


def exchange(at, there, back, offset, drift):
    """What a client whose clock is wrong by `offset` and `drift` sees at true time `at`."""
    local = lambda t: (t - offset) / (1 + drift)  # noqa: E731
    return Exchange(local(at), at + there, local(at + there + back))


@given(st.floats(0, 1e4), delays, delays, offsets)
def test_an_exchange_bounds_the_offset_by_half_its_round_trip(at, there, back, offset):
    seen = exchange(at, there, back, offset, 0.0)
    assert abs(seen.offset - offset) <= seen.round_trip / 2 + 1e-10


@given(offsets, drifts, st.integers(3, 20), delays)
def test_equal_delays_give_offset_and_drift_to_the_digit(offset, drift, count, delay):
    points = [exchange(0.1 * i, delay, delay, offset, drift) for i in range(count)]
    line, bound = fit(points)
    for at in (0.0, 1.0, 10.0):
        assert line.reference((at - offset) / (1 + drift)) == pytest.approx(at, abs=1e-9 + 1e-8 * at)
    # A client that runs at 1 / (1 + drift) sees its own round trip shorter by as much.
    assert bound == pytest.approx(delay, rel=1e-3, abs=1e-10)


def test_slow_exchanges_are_left_out():
    draw = random.Random(1)
    points = [exchange(0.05 * i, 1e-6, 1e-6, 7.0, 2e-5) for i in range(10)]
    points += [exchange(0.05 * i, draw.uniform(1e-3, 5e-3), 1e-6, 7.0, 2e-5) for i in range(10)]
    line, bound = fit(points)
    assert bound < 2e-6
    assert line.reference((2.0 - 7.0) / (1 + 2e-5)) == pytest.approx(2.0, abs=1e-8)


def test_one_exchange_gives_an_offset_without_drift():
    line, _ = fit([exchange(1.0, 1e-6, 1e-6, 3.0, 0.0)])
    assert line.drift == 0.0
    assert line.offset == pytest.approx(3.0)


def test_no_exchange_is_refused():
    with pytest.raises(UsageError, match="at least 1 exchange"):
        fit([])


@given(offsets, drifts, st.floats(0, 1e5), st.floats(0, 1e5))
def test_a_line_can_be_followed_back(offset, drift, origin, local):
    line = Line(offset, drift, origin)
    assert line.local(line.reference(local)) == pytest.approx(local, abs=1e-9)


@given(st.floats(1e-9, 1.0))
def test_a_latency_of_a_few_residuals_is_accepted_and_less_is_refused(residual):
    refuse_below(residual, 5 * residual)
    with pytest.raises(UsageError, match="at least 5 times what their clocks disagree by"):
        refuse_below(residual, 4.9 * residual)


def test_without_a_residual_every_latency_is_accepted():
    refuse_below(0.0, 0.0)


def test_a_clock_has_the_same_name_every_time():
    assert clock_name() == clock_name() != ""


@on_ranks(5)
def test_ranks_of_one_host_need_no_synchronisation(comm):
    sync = synchronise(comm)
    assert (sync.line, sync.residual, sync.bound, sync.clocks) == (Line(), 0.0, 0.0, 1)
    assert sync.now() <= time.perf_counter()


@on_ranks(5, hosts=[2, 3, 5])
def test_skewed_clocks_of_several_hosts_come_to_agree(comm, hosts):
    host = comm.rank % hosts
    rate, shift = 1 + 3e-5 * host, 1000.0 * host
    span = 0.2
    sync = synchronise(comm, clock=lambda: time.perf_counter() * rate + shift, name=f"host{host}", span=span)
    assert sync.clocks == hosts
    assert sync.bound > 0
    before = time.perf_counter()
    reading = sync.now()
    after = time.perf_counter()
    # Rank 0's clock is the machine's own, so the truth is known: a line is off by `bound` where it was measured, a few
    # times that where it is prolonged, and each of the log2(hosts) rounds adds its own.
    allowed = 3 * 8 * sync.bound
    assert before - allowed <= reading <= after + allowed
    if host:
        assert abs(sync.line.offset) > 900


@on_ranks(5)
def test_the_residual_shows_a_clock_that_jumps_after_it_was_measured(comm):
    points, exchanges = 4, 10
    readings = 0

    def jumping():
        nonlocal readings
        readings += 1
        measured = readings > 2 * points * exchanges
        return time.perf_counter() + (1.0 if comm.rank == 4 and measured else 0.0)

    name = f"host{comm.rank}"
    sync = synchronise(comm, clock=jumping, name=name, points=points, exchanges=exchanges, span=0.1)
    assert sync.residual == pytest.approx(1.0, abs=0.1 + 24 * sync.bound)
    with pytest.raises(UsageError, match="across hosts"):
        refuse_below(sync.residual, 1e-3)
