"""The matcher against a plain one that looks through lists, on random messages, receives and times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.core.matching import Matcher, release
from emulator.core.message import ANY_SOURCE, ANY_TAG, Arrival

SOURCES, TAGS = 3, 2
NEVER = float("inf")


@dataclass(eq=False)
class Receive:
    source: int
    tag: int
    number: int
    turn: int = 0
    posted: float = 0.0
    transfer: Any = None
    message: Arrival | None = None

    def take(self, message: Arrival) -> None:
        assert self.message is None
        self.message = message


class PlainMatcher:
    """Every message meets the posted receives at its own time, and every receive the messages that have met none."""

    def __init__(self) -> None:
        self.under_way: list[Arrival] = []
        self.here: list[Arrival] = []
        self.posted: list[Receive] = []
        self.matches: dict[int, int] = {}

    @staticmethod
    def fits(receive: Receive, message: Arrival) -> bool:
        return receive.source in (ANY_SOURCE, message.source) and receive.tag in (ANY_TAG, message.tag)

    def advance(self, now: float) -> None:
        for message in sorted(self.under_way, key=lambda one: (one.first, one.source, one.order)):
            if message.first <= now:
                self.under_way.remove(message)
                taker = next((one for one in self.posted if self.fits(one, message)), None)
                if taker is None:
                    self.here.append(message)
                else:
                    self.posted.remove(taker)
                    self.matches[taker.number] = message.order

    def post(self, receive: Receive) -> None:
        found = [one for one in self.here if self.fits(receive, one)]
        if not found:
            self.posted.append(receive)
            return
        message = min(found, key=lambda one: (one.first, one.source, one.order))
        self.here.remove(message)
        self.matches[receive.number] = message.order


source = st.integers(ANY_SOURCE, SOURCES - 1)
tag = st.integers(ANY_TAG, TAGS - 1)
events = st.lists(
    st.one_of(
        st.tuples(st.just("message"), st.integers(0, SOURCES - 1), st.integers(0, TAGS - 1), st.integers(0, 3)),
        st.tuples(st.just("receive"), source, tag),
        st.tuples(st.just("advance"), st.integers(0, 2)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
    ),
    max_size=40,
)


@given(events)
@settings(max_examples=1500)
def test_receives_get_the_messages_that_time_and_order_give_them(events: list[tuple[Any, ...]]) -> None:
    matcher, plain = Matcher(lambda receive, message: receive.take(message), []), PlainMatcher()  # type: ignore[arg-type, return-value]
    now, receives, last = 0.0, [], dict.fromkeys(range(SOURCES), 0.0)
    for number, (kind, *what) in enumerate(events, start=1):
        if kind == "message":
            origin, its_tag, delay = what
            last[origin] = max(last[origin], now + delay)  # one source's messages do not overtake each other
            message = Arrival(0, origin, its_tag, 0, last[origin], 0.0, 0, 0, None)
            message.order = number
            plain.under_way.append(message)
            plain.advance(now)
            matcher.arrive(message, now)
        elif kind == "receive":
            pair = [Receive(*what, number) for _ in range(2)]
            receives.append(pair)
            matcher.post(pair[0], now)
            plain.post(pair[1])
        elif kind == "advance":
            now += what[0]
            plain.advance(now)
            release(matcher.later, now)
        elif receives:  # an exact receive may have its message before its time: only wildcards can still be cancelled
            ours, theirs = receives[what[0] % len(receives)]
            if ours.source == ANY_SOURCE:
                waiting = theirs in plain.posted
                assert matcher.withdraw(ours) == waiting
                if waiting:
                    plain.posted.remove(theirs)
        unmatched = [ours for ours, theirs in receives if ours.message is None and theirs in plain.posted]
        if not any(one.source == ANY_SOURCE for one in unmatched):  # nothing keeps an exact receive waiting
            assert not [m for m in matcher.unexpected() for one in unmatched if plain.fits(one, m)]
    left = matcher.next_time()
    early = [message.first for message in plain.under_way]
    assert left is None or left in early
    release(matcher.later, NEVER)
    plain.advance(NEVER)
    ours = {one.number: one.message.order for one, _ in receives if one.message is not None}
    assert ours == plain.matches
    assert sorted(one.order for one in matcher.unexpected()) == sorted(one.order for one in plain.here)


@given(st.lists(st.tuples(st.integers(0, SOURCES - 1), st.integers(0, TAGS - 1)), max_size=20), source, tag)
def test_a_probe_finds_the_earliest_message_and_the_receive_takes_it(
    sent: list[tuple[int, int]], where: int, which: int
) -> None:
    matcher = Matcher(lambda receive, message: receive.take(message), [])  # type: ignore[arg-type, return-value]
    for order, (origin, its_tag) in enumerate(sent):
        message = Arrival(0, origin, its_tag, 0, float(order // 3), 0.0, 0, 0, None)
        message.order = order
        assert not matcher.match(message)
    while (found := matcher.find(where, which, None)) is not None:
        fitting = [
            one for one in matcher.unexpected() if where in (ANY_SOURCE, one.source) and which in (ANY_TAG, one.tag)
        ]
        assert found is min(fitting, key=lambda one: (one.first, one.source, one.order))
        assert matcher.take(where, which, None) is found
    assert not [
        one for one in matcher.unexpected() if where in (ANY_SOURCE, one.source) and which in (ANY_TAG, one.tag)
    ]
