"""Loss: its rate, its bursts, its timeouts; and that it is a pure function of the message."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.network.draws import stream
from emulator.network.loss import Loss

losses = st.builds(
    Loss, st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0, 1), st.floats(1, 4), st.integers(500, 9000)
)
STREAM = stream(5, 0, 1)


@given(losses, st.integers(0, 500), st.integers(0, 2**18))
def test_the_delay_is_a_pure_function_and_not_negative(loss, sequence, size):
    delay = loss.delay(STREAM, sequence, size)
    assert delay >= 0
    assert delay == loss.delay(STREAM, sequence, size)


@given(st.integers(0, 1000), st.integers(0, 2**30))
def test_without_loss_there_is_no_delay(sequence, size):
    assert Loss(0.0).delay(STREAM, sequence, size) == 0


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.7])
@pytest.mark.parametrize("correlation", [0.0, 0.25, 0.9])
def test_first_packets_are_lost_at_the_configured_rate_and_correlation(rate, correlation):
    loss = Loss(rate, correlation)
    fates = [loss.first_packet_lost(STREAM, sequence) for sequence in range(30_000)]
    assert sum(fates) / len(fates) == pytest.approx(rate, rel=0.2)
    after_a_loss = [fate for before, fate in itertools.pairwise(fates) if before]
    expected = correlation + (1 - correlation) * rate
    assert sum(after_a_loss) / len(after_a_loss) == pytest.approx(expected, abs=0.05)


def test_separate_losses_of_a_long_message_add_up():
    # Without bursts nearly every lost packet is a repair of its own: expected timeouts = packets * rate * (1 - rate)
    # runs, each repaired after 1 / (1 - rate) tries on average (backoff 1).
    rate, packets = 0.02, 50_000
    loss = Loss(rate, 0.0, rto=1.0, backoff=1.0, mtu=1000)
    expected = packets * rate * (1 - rate) / (1 - rate)
    assert loss.delay(STREAM, 0, packets * 1000) == pytest.approx(expected, rel=0.1)


def test_bursts_are_repaired_together():
    rate, correlation, packets = 0.02, 0.8, 50_000
    loss = Loss(rate, correlation, rto=1.0, backoff=1.0, mtu=1000)
    runs = packets * rate * (1 - correlation) * (1 - rate)  # a run ends with probability (1 - correlation)(1 - rate)
    assert loss.delay(STREAM, 0, packets * 1000) == pytest.approx(runs / (1 - rate), rel=0.15)


def test_a_lost_repair_waits_longer():
    loss = Loss(0.5, 0.0, rto=0.2, backoff=3.0)
    single = {round(loss.delay(STREAM, sequence, 1), 9) for sequence in range(200)}
    assert {0.0, 0.2, 0.8, 2.6} <= single  # 0.2, then 0.6, then 1.8 more


def test_timeouts_stop_growing_at_two_minutes():
    loss = Loss(0.99, 0.0, rto=0.2, backoff=4.0)
    longest = max(loss.delay(STREAM, sequence, 1) for sequence in range(50))
    assert longest <= 0.2 * (4**5 - 1) / 3 + 10 * 120 + 1e-6


def test_a_rto_beyond_two_minutes_is_kept():
    loss = Loss(0.9, 0.0, rto=300.0)
    assert min(d for s in range(50) if (d := loss.delay(STREAM, s, 1)) > 0) == 300.0
