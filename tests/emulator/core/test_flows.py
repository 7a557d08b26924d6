"""Messages that share cards packet by packet: who gets what, whatever is known when, and on emulated ranks."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

import emulator
from emulator import carrier, sim
from emulator.core.flows import Flows
from emulator.network.files import parse
from tests.emulator.costs import shared_cards
from tests.emulator.small_networks import ALPHA, BETA, plain
from tests.ranks import on_ranks

MESSAGES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 9), st.integers(0, 9)), max_size=8)
"""Source, destination, first byte's time, and bytes."""


def sent(messages: list[tuple[int, int, int, int]]) -> Flows:
    """Messages on a network of one byte per second."""
    flows = Flows(plain(4, beta=1.0, sharing="packet"))
    for token, (source, destination, first, size) in enumerate(messages):
        flows.add((source, token), destination, first, size, 1.0)
    return flows


def ends(flows: Flows, key: tuple[int, int]) -> float:
    """When a message that has been sent ends, as far as is known."""
    known = flows.expected(key)
    assert known is not None
    return known


def due(flows: Flows, key: tuple[int, int], now: float) -> tuple[float, float]:
    """When it begins and ends."""
    known = flows.due(key, now)
    assert known is not None
    return known


def _between_hosts(messages: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Those between two hosts, in the order in which they are sent: from one rank to another none overtakes."""
    return sorted((message for message in messages if message[0] != message[1]), key=lambda message: message[2])


@given(MESSAGES.map(_between_hosts))
def test_no_card_carries_more_than_it_can_and_nothing_is_idle_that_could_help(messages: Any) -> None:
    flows = sent(messages)
    at = [ends(flows, (message[0], token)) for token, message in enumerate(messages)]
    for token, (source, _, first, size) in enumerate(messages):
        pieces = flows.open[source, token].pieces
        assert math.isclose(sum((until - begin) * rate for begin, until, rate in pieces), size, abs_tol=1e-9)
        assert all(begin >= first for begin, _, _ in pieces)
        assert at[token] >= first + size - 1e-9
    for time in {begin for one in flows.open.values() for begin, _, _ in one.pieces}:
        used = dict.fromkeys(range(8), 0.0)
        for one in flows.open.values():
            for use in one.uses:
                used[use] += sum(rate for begin, until, rate in one.pieces if begin <= time < until)
        assert all(rate <= 1 + 1e-9 for rate in used.values())
        for one in flows.open.values():  # max-min: one of the cards of each that moves is full
            if any(begin <= time < until for begin, until, _ in one.pieces):
                assert max(used[use] for use in one.uses) == pytest.approx(1.0)


@given(MESSAGES.map(_between_hosts), st.randoms())
def test_the_order_in_which_the_ends_are_asked_for_changes_nothing(messages: Any, order: random.Random) -> None:
    """Unpaced, each answer is made to hold; all were sent before the first is asked for."""
    expected, flows = sent(messages), sent(messages)
    tokens = list(range(len(messages)))
    order.shuffle(tokens)
    for token in tokens:
        key = messages[token][0], token
        assert due(flows, key, math.inf)[1] == pytest.approx(ends(expected, key), rel=1e-6)
    assert not flows.open


@given(MESSAGES.map(_between_hosts))
def test_messages_that_are_sent_as_time_goes_by(messages: Any) -> None:
    """Knowing a message only when it begins, and looking at all times, leads to the same ends."""
    whole, flows = sent(messages), sent([])
    seen: dict[Any, float] = {}
    for now in range(100):
        for token, (source, destination, first, size) in enumerate(messages):
            if first == now:
                assert not flows.add((source, token), destination, first, size, 1.0)
            if first <= now and (source, token) not in seen:
                end = due(flows, (source, token), now)[1]
                if end <= now:
                    seen[source, token] = end
    for token, (source, *_) in enumerate(messages):
        assert seen[source, token] == pytest.approx(ends(whole, (source, token)), rel=1e-6)


def test_one_that_comes_too_late_is_counted_and_gets_what_is_left() -> None:
    flows = sent([(1, 0, 0, 4)])
    assert flows.due((1, 0), math.inf) == (0, 4)
    assert flows.add((2, 1), 0, 0, 4, 1.0)
    assert flows.due((2, 1), math.inf) == (4, 8)  # with the card's work done, as it would be
    assert not flows.add((2, 2), 0, 8, 4, 1.0)


def test_a_state_can_be_handed_on() -> None:
    flows, other = sent([(1, 0, 0, 4), (2, 0, 1, 4), (1, 0, 2, 1)]), sent([])
    flows.due((2, 1), math.inf)
    other.load(flows.dump())
    assert flows.due((3, 9), math.inf) is flows.expected((3, 9)) is None  # not sent yet
    assert other.due((1, 2), math.inf) == flows.due((1, 2), math.inf)
    assert other.dump() == flows.dump()


LINKS = """
sharing = "packet"
[link]
latency = "50 us"
bandwidth = "1 GB/s"
[topology]
kind = "racks"
hosts_per_rack = 2
uplink = "1 GB/s"
"""


def test_a_link_between_racks_is_shared() -> None:
    """Two hosts send to two of the other rack: half of the uplink each."""

    def program(comm: Any) -> float:
        x = np.zeros(100_000, np.uint8)
        (comm.Send if comm.rank < 2 else comm.Recv)(x, (comm.rank + 2) % 4)
        return carrier.of(comm).now()

    assert sim.run(program, 4, parse(LINKS)).clocks[2:] == pytest.approx([250e-6] * 2, rel=1e-9)


@on_ranks(4, pace=["none", 50.0])
def test_an_incast_of_emulated_ranks(comm: MPI.Intracomm, pace: Any) -> None:
    """All have been sent before the first is received, however late a process is: each end is known then."""
    world = emulator.emulate(comm, plain(sharing="packet"), pace=pace)
    sizes = [0, 40_000, 80_000, 120_000]
    start = world.align()
    if comm.rank:
        world.Send(np.zeros(sizes[comm.rank], np.uint8), 0)
        assert world.now() == start  # it is in the socket's buffer
    comm.Barrier()
    if comm.rank:
        return
    for rank, end in enumerate(shared_cards.ends([start + ALPHA] * 3, sizes[1:], BETA, "packet"), start=1):
        world.Recv(np.zeros(sizes[rank], np.uint8), rank)
        assert world.now() == pytest.approx(end, rel=1e-9)
