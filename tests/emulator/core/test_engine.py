"""What messages cost and who gets them, between ranks of one process and without MPI."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.instruments import Instrument
from emulator.core.message import ANY_SOURCE, FOLLOWS
from emulator.core.traffic import of_rank, total
from tests.emulator.core.in_process import LocalEngine, engines_of, receive, run, send, ssend
from tests.emulator.small_networks import ALPHA, BETA, plain

SIZES = st.integers(0, 10**6)


def exactly(seconds: float) -> Any:
    return pytest.approx(seconds, rel=1e-12)


@given(SIZES, st.integers(1, 5))
def test_a_ping_pong(size: int, turns: int) -> None:
    """2 (alpha + n beta) a turn."""

    def program(engine: LocalEngine) -> Any:
        other = 1 - engine.rank
        for _ in range(turns):
            if engine.rank == 0:
                send(engine, other, size)
            yield receive(engine, other)
            if engine.rank == 1:
                send(engine, other, size)

    assert run(engines_of(plain(2)), program)[0] == exactly(turns * 2 * (ALPHA + size * BETA))


@given(SIZES, st.integers(2, 17))
def test_incast_queues_at_the_receivers_card(size: int, p: int) -> None:
    """p - 1 messages at once are taken in one after another, those of lower ranks first."""
    seen = []

    def program(engine: LocalEngine) -> Any:
        if engine.rank:
            send(engine, 0, size)
            return
        for place in range(1, p):
            message = yield receive(engine, ANY_SOURCE)
            assert engine.clock.t == exactly(ALPHA + place * size * BETA)
            seen.append(message.source)

    engines = engines_of(plain(p))
    run(engines, program)
    assert seen == list(range(1, p))
    assert engines[0].inversions() == 0


def test_a_rank_that_computes_first_is_heard_last_whoever_was_physically_first() -> None:
    heard = []

    def program(engine: LocalEngine) -> Any:
        if engine.rank:
            engine.clock.t += (3 - engine.rank) * 1e-3
            send(engine, 0, 8)
        else:
            yield None
            for _ in range(2):
                heard.append((yield receive(engine, ANY_SOURCE)).source)

    engines = engines_of(plain(3))
    for engine in engines[1:]:  # both messages are there before rank 0 asks
        list(program(engine))
    run(engines[:1], program)
    assert heard == [2, 1]


def test_a_synchronous_send_ends_when_it_knows_of_the_match() -> None:
    """The receive is posted at 5 ms; the word of it takes another alpha."""

    def program(engine: LocalEngine) -> Any:
        if engine.rank == 0:
            yield ssend(engine, 1, 100)
        else:
            engine.clock.t = 5e-3
            yield receive(engine, 0)

    assert run(engines_of(plain(2)), program)[0] == exactly(5e-3 + ALPHA)


def test_messages_do_not_overtake_and_a_cut_holds_them_back() -> None:
    engines = engines_of(plain(2))
    engines[0].network_state(range(2)).cut([0], [1], until=1.0)

    def program(engine: LocalEngine) -> Any:
        if engine.rank == 0:
            send(engine, 1, 1000, tag=1)
            engine.network_state(range(2)).heal()
            send(engine, 1, 0, tag=2)
        else:
            assert (yield receive(engine, 0)).tag == 1
            assert engine.clock.t == exactly(1.0 + ALPHA + 1000 * BETA)
            assert (yield receive(engine, 0)).tag == 2

    assert run(engines, program)[1] == exactly(1.0 + ALPHA + 1000 * BETA)


def test_what_holds_for_all_routes_holds_for_those_that_are_made_later() -> None:
    engines = engines_of(plain(3))
    state = engines[0].network_state(range(3))
    state.weaken(0.5)
    assert not engines[0].routes
    send(engines[0], 1, 1000)
    assert engines[0].clock.t == exactly(2 * 1000 * BETA)
    state.restore()
    begin = engines[0].clock.t
    send(engines[0], 2, 1000)
    assert engines[0].clock.t - begin == exactly(1000 * BETA)


def test_routes_are_made_when_they_are_used() -> None:
    engines = engines_of(plain(1000))
    send(engines[0], 999, 10)
    assert list(engines[0].routes) == [999]
    assert not engines[1].routes
    found = total(engines[0].network, [of_rank(engine.clock.t, engine.routes) for engine in engines])
    assert found.pairs == {(0, 999): (1, 10)}


class Listener(Instrument):
    """Writes down what it is told of messages."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def sent(self, *event: Any) -> None:
        self.seen.append(("sent", *event))

    def arrived(self, *event: Any) -> None:
        self.seen.append(("arrived", *event))

    def completed(self, *event: Any) -> None:
        self.seen.append(("completed", *event))

    def waited(self, *event: Any) -> None:
        self.seen.append(("waited", *event))


def _one_message(engine: LocalEngine) -> Any:
    if engine.rank == 0:
        engine.clock.t = 1e-3
        send(engine, 1, 1000, tag=7)
    else:
        yield receive(engine, 0)


def test_several_instruments_see_each_message_once() -> None:
    engines = engines_of(plain(2))
    listeners = [Listener(), Listener()]
    engines[1].instruments += listeners
    engines[0].instruments.append(listeners[0])
    run(engines, _one_message)
    first, service = 1e-3 + ALPHA, exactly(1000 * BETA)
    due, left = exactly(1e-3 + ALPHA + 1000 * BETA), exactly(1e-3 + 1000 * BETA)
    at_receiver = [
        ("arrived", 0, 1, 7, 1000, exactly(first)),
        ("completed", 0, 1, 7, 1000, 0.0, due, exactly(first), service, 1),
    ]
    at_sender = ("sent", 0, 1, 7, 1000, 1e-3, left, 1e-3, exactly(first), 0.0, 1)
    assert listeners[0].seen == [at_sender, *at_receiver]
    assert listeners[1].seen == at_receiver


def test_nobody_listens() -> None:
    engines = engines_of(plain(2))
    with_listener = engines_of(plain(2))
    for engine in with_listener:
        engine.instruments.append(Listener())
    assert run(engines, _one_message) == run(with_listener, _one_message)


def test_no_payload_follows_in_one_process() -> None:
    engines = engines_of(plain(2))
    send(engines[0], 1, 10**6)
    found = engines[1].matchers[1].find(0, 0, None)
    assert found is not None
    assert not found.flags & FOLLOWS
