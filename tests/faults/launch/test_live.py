"""The table of a running job's ranks: what it says of each, and where it is shown."""

import io
import sys

from rich.console import Console

from emulator.launch import streams
from emulator.run import console
from faults.launch import live
from faults.launch.live import RanksAtWork
from faults.record.status_board import NO_RANK, StatusBoard


def board_of(tmp_path, *peers: int) -> StatusBoard:
    board = StatusBoard.create(tmp_path / "board", len(peers) + 1, 0)
    for member, peer in enumerate(peers):
        board.enter(member, member, 0)
        board.rows["step"][member], board.rows["peer"][member] = 10 + member, peer
    return board


def test_each_rank_has_its_step_its_state_and_the_rank_it_waits_for(tmp_path) -> None:
    board = board_of(tmp_path, 2, NO_RANK, NO_RANK)
    board.rows["pid"][1] = 2**22 + 1  # above the kernel's largest process id
    board.leave(2)
    rows = RanksAtWork(board, world=4).table().rows
    assert [row[:4] for row in rows] == [
        [0, 10, "waits", "rank 2"], [1, 11, "dead", ""], [2, 12, "done", ""], [3, None, "starts", ""],
    ]  # fmt: skip


def test_of_many_ranks_those_furthest_behind_are_shown(tmp_path) -> None:
    board = StatusBoard.create(tmp_path / "board", 40, 0)
    for member in range(40):
        board.enter(member, member, 0)
        board.rows["step"][member] = 100 - member
    table = RanksAtWork(board, world=40).table()
    assert [row[0] for row in table.rows] == list(range(16, 40))
    assert "24 of 40" in table.notes[0]


def test_a_line_says_which_steps_ranks_are_at(tmp_path) -> None:
    assert RanksAtWork(board_of(tmp_path, NO_RANK, NO_RANK), 2).line().startswith("2 ranks at step 10 to 11, seen ")
    (tmp_path / "later").mkdir()
    assert RanksAtWork(board_of(tmp_path / "later"), 1).line() == "no rank has begun"


def test_the_table_is_shown_below_the_bar_on_a_terminal_and_the_last_one_stays(tmp_path) -> None:
    out = io.StringIO()
    ranks = RanksAtWork(board_of(tmp_path, 1, NO_RANK), 2)
    with console.progress(Console(file=out, width=80, force_terminal=True), 3, "jobs") as bar, live.on(bar):
        with live.shown(ranks):
            bar.bar.refresh()
        live.keep(ranks, "Ranks when the job was ended")
    shown, _, kept = out.getvalue().partition("Ranks when the job was ended")
    assert "waits  rank 1" in shown
    assert "waits  rank 1" in kept


def test_what_a_job_prints_beside_a_bar_stays_on_its_stream(capsys) -> None:
    out = io.StringIO()
    with console.progress(Console(file=out, width=80, force_terminal=True), None) as bar:
        bar.write(sys.stdout, b"printed\n")
        bar.write(sys.stderr, b"complained\n")
    assert "printed" in out.getvalue()
    assert capsys.readouterr().err == "complained\n"


def test_without_a_screen_nothing_is_shown(tmp_path, capsys) -> None:
    ranks = RanksAtWork(board_of(tmp_path, 1), 1)
    with live.shown(ranks):
        live.keep(ranks, "never")
    assert capsys.readouterr() == ("", "")
    assert live.write() is streams.write
