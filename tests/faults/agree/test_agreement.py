"""Words agreed on although agreements hang: for all or for some, and while others are at work.

MPI is a model here: an agreement comes about as soon as all have said their word, and hangs for whom the test wants.
Between two words each rank works, which takes a message from everybody, as a step of a job does. Who has said the last
word leaves, and is needed no more.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import and_

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from mpi4py import MPI

from faults.agree import agreement
from faults.agree.agreement import FRESH, QUIET, RECENT, Agreements

WORDS = 5
_TOO_LONG_S = 10.0
LOCK = threading.RLock()  # MPI's own progress


class Base:
    """All ranks' view of one communicator: its i-th agreement hangs for `hangs[i]`, a death is news in those of `news`.

    For those of `late[i]` it comes about when all have said a word on the `behind` base.
    """

    def __init__(self, needed, hangs, news, behind):
        self.needed, self.hangs, self.news, self.behind, self.said = needed, hangs, news, behind, []
        self.late, self.revoked = {}, False

    def complete(self, number):
        return len(self.said) > number and self.needed <= self.said[number].keys()

    def of(self, rank):
        return Seen(self, rank)


class Seen:
    def __init__(self, base, rank):
        self.base, self.rank, self.number = base, rank, 0

    def Revoke(self):
        self.base.revoked = True

    def Is_revoked(self):
        return self.base.revoked

    def Iagree(self, buffer):
        with LOCK:
            self.number += 1
            while len(self.base.said) < self.number:
                self.base.said.append({})
            self.base.said[self.number - 1][self.rank] = buffer[0]
        return Request(self.base, self.number - 1, self.rank, buffer)


class Request:
    def __init__(self, base, number, rank, buffer):
        self.base, self.number, self.rank, self.buffer = base, number, rank, buffer

    def Test(self):
        base = self.base
        if not base.complete(self.number) or self.rank in base.hangs.get(self.number, ()):
            return False
        if self.rank in base.late.get(self.number, ()) and not base.behind.complete(0):
            return False
        self.buffer[0] = reduce(and_, base.said[self.number].values())
        if self.number in base.news:
            raise MPI.Exception(MPI.ERR_OTHER)
        return True


class Job:
    """Ranks as threads, which say words and work."""

    def __init__(self, size, hangs, death_state, naps, news=None):
        """`death_state[rank]`: what each knows of deaths as long as nothing hangs for it."""
        self.needed, news = set(range(size)), news or {}
        self.bases = []
        for number in reversed(range(agreement.AGREE_COMMS)):
            behind = self.bases[0] if self.bases else None
            self.bases.insert(0, Base(self.needed, hangs.get(number, {}), news.get(number, ()), behind))
        self.size, self.death_state, self.naps = size, death_state, naps
        self.came = [set() for _ in range(WORDS + 2)]
        self.revoked = [threading.Event() for _ in range(WORDS + 2)]
        self.said = [[] for _ in range(size)]
        self.got = [[] for _ in range(size)]
        self.clean = [[] for _ in range(size)]
        self.over = time.monotonic() + _TOO_LONG_S

    def run(self):
        with ThreadPoolExecutor(self.size) as pool:
            for ended in [pool.submit(self.rank, rank) for rank in range(self.size)]:
                ended.result()

    def rank(self, rank):
        seen = iter([base.of(rank) for base in self.bases])
        comm = type("Comm", (), {"Dup": lambda _: next(seen)})()

        def wake_workers(ahead):
            for event in self.revoked[len(self.got[rank]) : len(self.got[rank]) + 1 + ahead]:
                event.set()

        def death_state():
            hangs = rank in agreements.comm.base.hangs.get(agreements.comm.number - 1, ())
            return max(self.death_state[rank], RECENT if hangs else QUIET)

        agreements = Agreements(comm, death_state, wake_workers)
        for step in range(WORDS):
            time.sleep(self.naps[step][rank])
            worked = self.work(rank, step)
            time.sleep(self.naps[-1 - step][rank])
            word = 1 << 10 + rank | 1 << 20 | worked
            self.said[rank].append(word)
            value, clean = agreements.agree(word, lambda *asked: self.wait(*asked, agreements))
            self.got[rank].append(value)
            self.clean[rank].append(clean)
        with LOCK:
            self.needed.remove(rank)

    def work(self, rank, step):
        """Exchange messages with all, unless somebody revokes the lane."""
        self.came[step].add(rank)
        while len(self.came[step]) < self.size:
            if self.revoked[step].is_set() or time.monotonic() > self.over:
                return False
            time.sleep(1e-4)
        return not self.revoked[step].is_set()

    def wait(self, request, superseded, agreements):
        while True:
            with LOCK:
                if request.Test():
                    return True
                if superseded():
                    return False
            assert time.monotonic() < self.over, f"hangs for good: {vars(agreements)}, {vars(request)}, {self.said}"
            time.sleep(1e-4)


SIZE = 3
SOME = st.sets(st.integers(0, SIZE - 1), min_size=1)
ALL, AT_ONCE = set(range(SIZE)), (0.0,) * SIZE
NAP = st.sampled_from([0.0, 0.0, 0.001, 0.03])


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(agreement, "STUCK_S", 0.01)


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    hangs=st.dictionaries(
        st.integers(0, agreement.AGREE_COMMS - 2), st.dictionaries(st.integers(0, 4), SOME, max_size=2), max_size=3
    ),
    naps=st.lists(st.tuples(*[NAP] * SIZE), min_size=WORDS, max_size=WORDS),
    death_state=st.lists(st.sampled_from([QUIET, RECENT, FRESH]), min_size=SIZE, max_size=SIZE),
    news=st.dictionaries(st.integers(0, agreement.AGREE_COMMS - 1), st.sets(st.integers(0, 4), max_size=2), max_size=3),
)
@example(
    hangs={0: {1: ALL}, 1: {0: ALL}}, death_state=[QUIET] * SIZE, naps=[AT_ONCE] * WORDS, news={0: {1}}
)  # a vote hangs as well
@example(
    hangs={0: {1: ALL}, 1: {0: {2}}}, death_state=[QUIET] * SIZE, naps=[AT_ONCE] * WORDS, news={0: {1}}
)  # for one only
@example(
    hangs={0: {1: {0}}, 1: {1: ALL}}, death_state=[QUIET] * SIZE, naps=[AT_ONCE] * WORDS, news={0: {1}}
)  # the question how far all are
@example(
    hangs={0: {1: {0, 1}}, 1: {2: {1}}}, death_state=[QUIET] * SIZE, naps=[AT_ONCE] * WORDS, news={0: {1}}
)  # the word said again
def test_whatever_hangs_all_get_what_all_said(hasty, hangs, death_state, naps, news):
    job = Job(SIZE, hangs, death_state, naps, news)
    job.run()
    agreed = [reduce(and_, words) for words in zip(*job.said, strict=True)]
    # The last word is for leaving together: whoever has left adds nothing when it is said again.
    assert [got[:-1] for got in job.got] == [agreed[:-1]] * SIZE
    assert len({tuple(clean[:-1]) for clean in job.clean}) == 1
    assert [len(got) for got in job.got] == [WORDS] * SIZE


@pytest.mark.parametrize("death_state", [FRESH, RECENT])
def test_who_is_ahead_and_at_work_is_called_in(hasty, death_state):
    """Rank 0 alone gets no outcome of word 1; the others wait for its message, on a lane that it does not know yet."""
    job = Job(SIZE, {0: {1: {0}}}, [death_state, QUIET, QUIET], [AT_ONCE] * WORDS)
    job.run()
    assert len({tuple(got) for got in job.got}) == 1
    assert not job.said[1][2] & 1, "the work behind the word that hung was given up"


def test_who_gives_up_calls_the_others_even_if_nothing_hangs_for_them(hasty):
    """All have voted, then word 1 comes about for all but rank 0, who has given it up: nobody need have died lately."""
    job = Job(SIZE, {0: {1: {0}}}, [QUIET] * SIZE, [AT_ONCE] * WORDS)
    job.bases[0].late = {1: {1, 2}}
    job.run()
    assert len({tuple(got[:-1]) for got in job.got}) == 1
    assert [len(got) for got in job.got] == [WORDS] * SIZE


@pytest.mark.parametrize("death_state", [RECENT, QUIET])
def test_a_late_rank_is_not_disturbed_when_no_death_is_fresh(monkeypatch, death_state):
    monkeypatch.setattr(agreement, "STUCK_S", 0.2)
    naps = [(0.4 if step == 1 else 0.0, 0.0, 0.0) for step in range(WORDS)]
    job = Job(SIZE, {}, [death_state] * SIZE, naps)
    job.run()
    assert all(word & 1 for said in job.said for word in said)
    assert not any(event.is_set() for event in job.revoked)
    assert job.bases[0].revoked == (death_state == RECENT)


def test_where_nobody_knows_of_a_death_nobody_votes(hasty):
    """However long one takes: nothing can hang, and votes that are not needed now would be counted later."""
    naps = [(0.3 if step == 1 else 0.0, 0.0, 0.0) for step in range(WORDS)]
    job = Job(SIZE, {}, [QUIET] * SIZE, naps)
    job.run()
    assert all(word & 1 for said in job.said for word in said)
    assert [base.said for base in job.bases[1:]] == [[]] * (agreement.AGREE_COMMS - 1)
