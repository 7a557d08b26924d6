"""The words of an agreement: any number of ranks, and the bitwise AND of what all say."""

import subprocess
from functools import reduce
from operator import and_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.launch import mpirun
from emulator.launch.job import start
from faults.agree import agreement
from faults.agree.survivor_group import packed, unpacked


@st.composite
def opinions(draw):
    size = draw(st.integers(1, 100))
    rank = st.integers(0, size - 1)
    return size, draw(st.lists(st.tuples(st.integers(0, 15), st.sets(rank, max_size=8)), min_size=1, max_size=8))


@given(opinions())
def test_combined_words_say_what_all_have_in_common(case) -> None:
    size, said = case
    words = [packed(head, dead, size) for head, dead in said]
    assert all(0 <= word < 2**31 for one in words for word in one)
    head, alive = unpacked([reduce(and_, column) for column in zip(*words, strict=True)], size)
    assert head == reduce(and_, (head for head, _ in said))
    assert set(alive) == set(range(size)) - set().union(*(dead for _, dead in said))


HANGS = """
import os, signal, sys
import mpi4py
mpi4py.rc.finalize = False
from mpi4py import MPI
from faults.agree import agreement, survivor_group
from faults.platform import Clock

class Ticks(Clock):
    '''Time passes while this rank waits for the deaf one and has not voted: no other wait lasts too long.'''
    t = 0.0
    def now(self): return self.t
    def give_way(self): self.t += 1e-3

class Deaf:
    def __init__(self, comm): self.comm = comm
    def __getattr__(self, name): return getattr(self.comm, name)
    def Iagree(self, word): return self
    def Test(self):
        if not quorum.agreements._votes:
            clock.give_way()
        return MPI.COMM_SELF.Iprobe()

clock = Ticks()
quorum = survivor_group.SurvivorGroup(MPI.COMM_WORLD, clock=clock)
quorum.agreements.comms[0] = Deaf(quorum.agree_comm)
if quorum.rank == 3:
    for other in range(3):
        quorum.work_comm.recv(source=other)
    os.kill(os.getpid(), signal.SIGKILL)
quorum.work_comm.send(None, 3)
wait = survivor_group.sleepy if quorum.rank == 2 else None
first = quorum.agree(True, 0b101 | quorum.rank & 0b010, wait)
quorum.alive = first.alive
second = quorum.agree(quorum.rank != 1)
with open(os.path.join(sys.argv[1], str(quorum.rank)), "w") as file:
    print(first.ok, first.alive, first.kept, second.ok, second.alive, len(quorum.agreements.comms), file=file)
quorum.agree(True)
os._exit(0)
"""


@pytest.mark.skipif(not mpirun.find_mpi().ulfm, reason="kills within a job need an MPI with ULFM")
def test_an_agreement_that_hangs_is_made_again_elsewhere(tmp_path) -> None:
    with start(mpirun.command(4, ["-c", HANGS, str(tmp_path)], ft=True), stderr=subprocess.DEVNULL) as job:
        job.wait(60)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        str(rank): f"True (0, 1, 2) 5 False (0, 1, 2) {agreement.AGREE_COMMS - 1}\n" for rank in range(3)
    }
    assert job.leftovers() == []


HEARS = """
import os, signal
import mpi4py
mpi4py.rc.finalize = False
from mpi4py import MPI
from faults.agree import survivor_group

survivor_group._HEAR_S = 60.0  # however late the news
quorum = survivor_group.SurvivorGroup(MPI.COMM_WORLD)
if quorum.rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
quorum.agree_comm.Revoke()
decision = quorum.agree(False)
print(decision.ok, decision.alive, decision.rounds)
os._exit(0)
"""


@pytest.mark.skipif(not mpirun.find_mpi().ulfm, reason="kills within a job need an MPI with ULFM")
def test_news_of_a_death_come_in_before_the_first_round_on_a_revoked_base_too() -> None:
    with start(mpirun.command(2, ["-c", HEARS], ft=True), stdout=subprocess.PIPE, text=True) as job:
        assert job.process.communicate(timeout=60)[0] == "False (0,) 1\n"


DIES_AT_THE_BARRIER = """
import os, signal
import mpi4py
mpi4py.rc.finalize = False
from mpi4py import MPI
from faults.agree import agreement, survivor_group

def quiet(comm):
    comm.Set_errhandler(MPI.ERRORS_RETURN)
    quiet.seen += 1
    if quiet.seen == 3 + agreement.AGREE_COMMS + survivor_group.WORK_COMMS:  # the last communicator
        if MPI.COMM_WORLD.rank == 0:
            MPI.COMM_WORLD.send("I have it, too", 1)
        else:
            MPI.COMM_WORLD.recv(source=0)
            os.kill(os.getpid(), signal.SIGKILL)

quiet.seen, survivor_group.quiet = 0, quiet
decision = survivor_group.SurvivorGroup(MPI.COMM_WORLD).agree(True)
print(decision.ok, decision.alive)
os._exit(0)
"""


@pytest.mark.skipif(not mpirun.find_mpi().ulfm, reason="kills within a job need an MPI with ULFM")
def test_a_death_while_others_are_in_the_barrier_is_left_to_the_first_agreement() -> None:
    command = mpirun.command(2, ["-c", DIES_AT_THE_BARRIER], ft=True)
    with start(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.process.communicate(timeout=60)[0] == "True (0,)\n"
