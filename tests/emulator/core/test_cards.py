"""Queues alone: what a card does with requests in order and out of order."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from emulator.core.cards import Port, private_queue

REQUESTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6)), max_size=30)


@given(REQUESTS)
def test_requests_in_order_follow_the_formula(requests: list[tuple[int, int]]) -> None:
    """start = max(asked, free); free = start + seconds."""
    queue, free = private_queue(remembers=True), 0.0
    for asked, seconds in sorted(requests):
        start = queue.take(asked, seconds)
        assert start == max(asked, free)
        free = start + seconds
    assert queue.inversions == 0


@given(REQUESTS, st.randoms())
def test_no_order_makes_two_overlap(requests: list[tuple[int, int]], order: random.Random) -> None:
    """Whatever comes when, nothing starts early, and one message at a time is served."""
    order.shuffle(requests)
    queue = private_queue(remembers=True)
    spans = []
    for asked, seconds in requests:
        start = queue.take(asked, seconds)
        assert start >= asked
        spans.append((start, start + seconds))
    busy = sorted(span for span in spans if span[0] < span[1])
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(busy))


@given(st.lists(st.integers(0, 31), unique=True), st.randoms())
def test_requests_that_do_not_meet_start_when_they_ask(slots: list[int], order: random.Random) -> None:
    """A rank that ran ahead takes nothing from one that comes later with an earlier message."""
    order.shuffle(slots)
    queue = private_queue(remembers=True)
    assert [queue.take(slot * 10.0, 10.0) for slot in slots] == [slot * 10.0 for slot in slots]
    assert queue.inversions == 0


@given(REQUESTS, st.data())
def test_what_is_expected_of_some_messages_is_when_serving_them_delivers_them(requests, data) -> None:
    """Of any of them, in any order, among others; and being asked serves nothing."""
    port = Port(private_queue(remembers=False))
    messages: list[Any] = [
        SimpleNamespace(first=float(at), service=float(s), size=0, due=None, source=0, token=token)
        for token, (at, s) in enumerate(requests)
    ]
    port.heap = sorted((message.first, 0, order, message) for order, message in enumerate(messages))
    asked = data.draw(st.permutations(messages))[: data.draw(st.integers(0, len(messages)))]
    once, again = port.expected(asked), port.expected(asked)
    served = [port.serve(message) for message in asked]
    assert once == again == served == port.expected(asked)


@given(REQUESTS, st.randoms())
def test_without_inversion_and_swap_every_request_starts_as_if_all_had_come_in_order(
    requests: list[tuple[int, int]], order: random.Random
) -> None:
    """Of one instant in the order of `order_of`, those without length among them."""
    numbered = [(float(asked), by, float(seconds)) for by, (asked, seconds) in enumerate(requests)]
    free, expected = 0.0, {}
    for asked, by, seconds in sorted(numbered):
        expected[by] = max(asked, free)
        free = expected[by] + seconds
    order.shuffle(numbered)
    queue = private_queue(remembers=True)
    found = {by: queue.take(asked, seconds, by) for asked, by, seconds in numbered}
    assert found == expected or queue.inversions + queue.swaps


def test_a_swap_is_counted() -> None:
    queue = private_queue(remembers=True)
    assert queue.take(5.0, 10.0, by=2) == 5.0
    assert queue.take(5.0, 1.0, by=3) == 15.0
    assert queue.swaps == 0
    assert queue.take(5.0, 1.0, by=1) == 16.0  # it should have been the first
    assert (queue.swaps, queue.inversions) == (1, 0)


def test_an_inversion_is_counted() -> None:
    queue = private_queue(remembers=True)
    assert queue.take(5.0, 10.0) == 5.0
    assert queue.take(4.0, 10.0) == 15.0  # in truth it came first
    assert queue.inversions == 1
    assert queue.take(3.0, 2.0) == 3.0  # there is room before both
    assert queue.inversions == 1


def test_waiting_for_an_earlier_one_is_no_inversion() -> None:
    queue = private_queue(remembers=True)
    queue.take(0.0, 10.0)
    queue.take(50.0, 10.0)
    assert queue.take(5.0, 10.0) == 10.0
    assert queue.inversions == 0
