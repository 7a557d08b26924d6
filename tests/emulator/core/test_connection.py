"""Slow start and segments of a link, on simulated ranks, beside their closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator import carrier, sim
from emulator.errors import UsageError
from emulator.network.files import parse
from emulator.network.protocol import Segment, SlowStart
from tests.emulator.small_networks import plain
from tests.ranks import on_ranks

ALPHA, BETA = 10e-3, 40e-9
LINE = '[link]\nlatency = "10 ms"\nbandwidth = "200 Mbit/s"\n'
SEGMENTED = """
[[link.segment]]
above = "4K"
latency = "12 ms"
bandwidth = "100 Mbit/s"
[[link.segment]]
above = "64K"
latency = "30 ms"
bandwidth = "200 Mbit/s"
"""


def one_way(comm: Any, size: int, pause: float = 0.0) -> float:
    """Seconds of a message after a pause, from its send to its receive; the ranks' clocks agree then."""
    carrier.of(comm).compute(pause)
    begin = comm.align()
    x = np.zeros(size, np.uint8)
    if comm.rank == 0:
        comm.Send(x, 1)
    else:
        comm.Recv(x, 0)
    return comm.align() - begin


def seen(text: str, *messages: tuple[int, float]) -> list[float]:
    """The times of messages of some size after some pause, one after another."""
    return sim.run(lambda comm: [one_way(comm, *each) for each in messages], 2, parse(text)).results[0]


def stalls(size: int, window: int) -> float:
    """By hand: k windows, each twice as long as the one before, are acknowledged before the rest can go."""
    k = 0
    while window * ((1 << k + 1) - 1) < size and window * (1 << k) * BETA < 2 * ALPHA:
        k += 1
    return k * 2 * ALPHA - window * ((1 << k) - 1) * BETA


@pytest.mark.parametrize("sharing", ["", 'sharing = "packet"\n'])
def test_slow_start_of_a_long_line(sharing: str) -> None:
    """A new connection stalls; one that has carried enough does not; a second later it stalls again."""
    text = sharing + LINE + "[slow_start]\n"
    plainly = ALPHA + 65_000 * BETA
    cold = plainly + stalls(65_000, 14_480)
    big = ALPHA + 2_000_000 * BETA + stalls(2_000_000, 14_480 + 65_000)
    times = seen(text, (65_000, 0), (2_000_000, 0.1), (65_000, 0.1), (65_000, 1.5), (0, 1.5))
    assert times == pytest.approx([cold, big, plainly, cold, ALPHA], rel=1e-9)
    assert cold == pytest.approx(51e-3, rel=0.02)  # two round trips: 52 ms on a real line, 12.9 when it is warm


def test_a_handshake_and_slow_start() -> None:
    text = LINE + '[slow_start]\n[protocol]\npreset = "openmpi-tcp"\n'
    times = seen(text, (65_536, 0), (2_000_000, 0.1), (65_536, 0.1), (65_000, 0.1))
    plainly = ALPHA + 65_536 * BETA
    assert times[0] == pytest.approx(plainly + 2 * ALPHA + stalls(65_536, 14_480), rel=1e-9)  # 72 ms on a real line
    assert times[2] == pytest.approx(plainly + 2 * ALPHA, rel=1e-9)  # 33 ms
    assert times[3] == pytest.approx(ALPHA + 65_000 * BETA, rel=1e-9)  # what the handshakes carried counts


def test_segments() -> None:
    times = seen(LINE + SEGMENTED, (4096, 0), (4097, 0), (65_536, 0), (65_537, 0))
    assert times == pytest.approx(
        [ALPHA + 4096 * BETA, 12e-3 + 4097 * 80e-9, 12e-3 + 65_536 * 80e-9, 30e-3 + 65_537 * BETA], rel=1e-9
    )


def test_the_wait_is_the_sum_of_the_windows() -> None:
    slow = SlowStart()
    for size in (0, 14_480, 14_481, 43_440, 43_441, 101_360, 10**9):
        assert slow.stalls(size, slow.window, 2 * ALPHA, BETA) == pytest.approx(stalls(size, slow.window), rel=1e-12)


@on_ranks(2, size=[65_000, 65_536])
def test_emulated_ranks(comm: MPI.Intracomm, size: int) -> None:
    world = emulator.emulate(
        comm, plain(alpha=ALPHA, beta=BETA, slow_start=SlowStart(), segments=(Segment(1, 0.02, BETA),))
    )
    expected = 0.02 + size * BETA + stalls(size, 14_480)
    assert one_way(world, size) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[slow_start]\nwindow = 0", "slow_start.window: must be at least 1 byte"),
        ('[slow_start]\nidle = "1"', "slow_start.idle: "),
        (SEGMENTED + SEGMENTED, "link.segment.above: segments stand in rising order of size"),
        (SEGMENTED.replace("100 Mbit", "1 Gbit"), "link.segment.bandwidth: a segment is no quicker than the link"),
        ('[[link.segment]]\nlatency = "1 s"', r"link.segment\[0\].above is missing"),
        (
            '[link.segment]\nlatency = "1 s"',
            r"link.segment is a list of tables, got one: write \[\[link.segment\]\] in",
        ),
    ],
)
def test_bad_fields(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(LINE + text)
