"""SWIM with a fake clock and in virtual time; over MPI with real ranks."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from primitives.membership import Detector, Settings, State, Swim
from primitives.membership.detector import decode, encode
from primitives.membership.messages import Kind, Message, Update
from tests.primitives.membership.simulation import Group, false_probe_rate, simulate
from tests.ranks import on_ranks

PERIOD = Settings(period_s=1.0)


def beliefs(group, member):
    return {m.me: m.state(member) for m in group.members if m.me not in group.gone and m.me != member}


updates = st.builds(Update, st.just(1), st.sampled_from(State), st.integers(0, 3))


@given(updates, updates)
def test_of_two_different_news_at_most_one_wins(a, b):
    assert not (a.overrides(b) and b.overrides(a))


@given(st.lists(updates, min_size=1, max_size=6), st.randoms())
def test_belief_does_not_depend_on_the_order_of_news(news, random):
    def final(order):
        member = Swim(0, [0, 1], PERIOD)
        for update in order:
            member.receive(Message(Kind.PING, 1, 0, 1, updates=(update,)), 0.0)
        known = member.known[1]
        return known.state if known.state is State.DEAD else known

    shuffled = list(news)
    random.shuffle(shuffled)
    assert final(news) == final(shuffled)


def test_a_suspect_contradicts_with_a_higher_incarnation():
    member = Swim(0, range(3), PERIOD)
    answers = member.receive(Message(Kind.PING, 1, 0, 7, updates=(Update(0, State.SUSPECT, 0),)), 0.5)
    assert member.incarnation == 1
    assert [(a.kind, a.destination, a.sequence) for a in answers] == [(Kind.ACK, 1, 7)]
    assert Update(0, State.ALIVE, 1) in answers[0].updates


def test_the_steps_of_one_probe():
    """Ping at the start, indirect pings after the timeout, suspect at the end, dead after the suspicion time."""
    settings = Settings(period_s=1.0, ping_timeout_s=0.25, indirect=2, suspicion_periods=3)
    member = Swim(0, range(4), settings)
    (ping,) = member.tick(0.0)
    assert ping.kind is Kind.PING
    assert member.due == 0.25
    asked = member.tick(0.25)
    assert [m.kind for m in asked] == [Kind.PING_REQ] * 2
    assert all(m.subject == ping.destination != m.destination for m in asked)
    assert member.tick(0.5) == []
    member.tick(1.0)
    assert member.state(ping.destination) is State.SUSPECT
    member.tick(3.9)
    assert member.state(ping.destination) is State.SUSPECT
    member.tick(4.0)
    assert member.state(ping.destination) is State.DEAD


def test_an_indirect_ack_is_passed_on():
    helper = Swim(2, range(4), PERIOD)
    (ping,) = helper.receive(Message(Kind.PING_REQ, 0, 2, 41, subject=3), 0.0)
    assert (ping.kind, ping.destination) == (Kind.PING, 3)
    (ack,) = helper.receive(Message(Kind.ACK, 3, 2, ping.sequence), 0.1)
    assert (ack.kind, ack.destination, ack.sequence) == (Kind.ACK, 0, 41)


@pytest.mark.parametrize("n", [2, 3, 8, 16])
def test_nobody_is_suspected_in_a_healthy_group(n):
    figures = simulate(n, settings=PERIOD, periods=40)
    assert figures.failed_probes == figures.false_deaths == 0
    assert figures.messages == pytest.approx(2 * figures.probes, rel=0.1)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
@pytest.mark.parametrize("seed", range(4))
def test_every_death_is_found_by_everybody(n, seed):
    """Suspected within 2 n periods (round robin), dead one suspicion time later, known to all soon after."""
    figures = simulate(n, settings=PERIOD, victims=[n - 1], periods=14 + 2 * n + 5 * PERIOD.suspicion(n), seed=seed)
    assert 0 < figures.suspected <= 2 * n
    assert figures.declared == pytest.approx(figures.suspected + PERIOD.suspicion(n), abs=1.01)
    assert figures.declared <= figures.known_to_all <= figures.declared + 2 * n
    assert figures.false_deaths == 0


def test_two_deaths_at_once():
    figures = simulate(8, settings=PERIOD, victims=[0, 5], periods=80)
    assert figures.known_to_all > 0
    assert figures.false_deaths == 0


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_false_probes_come_at_the_papers_rate(loss):
    runs = [simulate(8, settings=PERIOD, loss=loss, periods=250, seed=seed) for seed in range(4)]
    expected = false_probe_rate(loss, PERIOD.indirect) * sum(r.probes for r in runs)
    assert abs(sum(r.failed_probes for r in runs) - expected) <= 5 * np.sqrt(expected)


def test_contradiction_keeps_the_living_alive():
    assert sum(simulate(8, settings=PERIOD, loss=0.1, periods=200, seed=s).false_deaths for s in range(5)) == 0


def test_a_short_hang_is_forgiven_a_long_one_evicts():
    group = Group(6, PERIOD, seed=3)
    group.run_until(5)
    group.kill(2)
    group.run_until(5 + PERIOD.suspicion(6) / 2)
    group.revive(2)
    group.run_until(40)
    assert set(beliefs(group, 2).values()) == {State.ALIVE}
    group.kill(2)
    group.run_until(80)
    assert set(beliefs(group, 2).values()) == {State.DEAD}
    group.revive(2)
    group.run_until(90)
    assert group.members[2].evicted
    assert set(beliefs(group, 2).values()) == {State.DEAD}


def test_proof_from_elsewhere_is_spread():
    group = Group(8, PERIOD)
    group.run_until(3)
    group.kill(4)
    group.members[1].declare_dead(4, group.now)
    group.run_until(9)
    assert set(beliefs(group, 4).values()) == {State.DEAD}


@given(
    st.sampled_from(Kind), st.integers(0, 99), st.integers(0, 99), st.integers(0, 2**40), st.lists(updates, max_size=6)
)
def test_messages_survive_the_wire(kind, source, destination, sequence, news):
    message = Message(kind, source, destination, sequence, 3, tuple(news))
    assert decode(encode(message, 6)) == message


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Settings(period_s=0), "above 0"),
        (lambda: Settings(period_s=1, ping_timeout_s=1), "between 0 and the period"),
        (lambda: Settings(indirect=-1), "indirect >= 0"),
        (lambda: Swim(5, range(3)), "not in its own group"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@on_ranks(5, silent=[[2], [0, 4]])
def test_over_mpi_the_silent_are_found_and_evicted(comm, silent):
    """On a clock that only counts polls, so that a busy machine cannot make anybody look dead."""
    clock = [0.0]
    detector = Detector(comm, settings=PERIOD, clock=lambda: clock[0])

    def turn(poll):
        """One hundredth of a period for everybody at once; messages of the last turn have arrived."""
        comm.Barrier()
        if poll:
            detector.poll()
        detector._box.flush()
        comm.Barrier()
        time.sleep(0)
        clock[0] += 0.05

    for _ in range(60):
        turn(True)
    assert not detector.dead
    me = comm.Get_rank()
    for _ in range(20 * 30):
        turn(me not in silent)
    if me not in silent:
        assert detector.dead == set(silent)
    for _ in range(20 * 12):
        turn(True)
    assert detector.evicted == (me in silent)


@on_ranks(3, net="10gbe", seed=[0])
def test_emulated_time_that_stands_still_is_refused(comm, seed):
    with pytest.raises(UsageError, match="--pace"):
        Detector(comm, seed=seed)
