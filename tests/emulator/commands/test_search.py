"""``python -m emulator search``: errors that depend on the order of messages are found, counted, and shown again."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from emulator import results
from emulator.commands.run import run
from emulator.commands.search import search

RACE = """
if rank == 0:
    got = [comm.recv(source=MPI.ANY_SOURCE) for _ in range(size - 1)]
"""
TELL = "else:\n    comm.send(rank, dest=0)\n"
ORDERS = 120


def searched(folder: Path, program: str, *options: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Result, Path]:
    script = folder / "program.py"
    head = "from mpi4py import MPI\ncomm = MPI.COMM_WORLD\nrank, size = comm.Get_rank(), comm.Get_size()\n"
    script.write_text(head + program)
    monkeypatch.chdir(folder)
    arguments = ["--simulate", "4", "--orders", str(ORDERS), "--out", "out", *options, "program.py"]
    return CliRunner().invoke(search, arguments), script


def test_each_order_is_as_likely_as_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = RACE + "    print(*got)\n" + TELL
    found, _ = searched(tmp_path, program, monkeypatch=monkeypatch)
    assert found.exit_code == 0, found.output
    endings = results.load(tmp_path / "out" / "result.json")["endings"]
    assert sum(row["times"] for row in endings) == ORDERS
    assert {row["text"] for row in endings} == {f"ends, prints {a} {b} {6 - a - b}" for a in (1, 2, 3)
                                               for b in (1, 2, 3) if a != b}  # fmt: skip
    assert all(5 <= row["times"] <= 40 for row in endings)  # 20 expected; fixed by the seeds


def test_a_failing_order_is_shown_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = RACE + "    assert got[0] != 3, got\n" + TELL
    found, script = searched(tmp_path, program, monkeypatch=monkeypatch)
    assert found.exit_code == 1
    failed, *rest = results.load(tmp_path / "out" / "result.json")["endings"]
    assert (failed["failed"], [row["failed"] for row in rest]) == (True, [False])
    assert "AssertionError" in failed["text"]
    assert "program.py, line 7" in failed["text"]
    again = ["--simulate", "4", "--net", "10gbe", "--compute", "none", "--out", "again", "--shuffle"]
    assert f"run {' '.join(again[:6])} --shuffle {failed['first']} program.py" in found.output
    assert CliRunner().invoke(run, [*again, str(failed["first"]), str(script)]).exit_code == 1
    assert CliRunner().invoke(run, [*again, str(rest[0]["first"]), str(script)]).exit_code == 0


def test_a_failure_that_comes_after_many_outputs_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
if rank == 0:
    got = tuple(comm.recv(source=MPI.ANY_SOURCE) for _ in range(2 * (size - 1)))
    print("deadlock", *got)
    assert got != (20, 30, 10, 11, 31, 21)
else:
    comm.send(10 * rank, dest=0)
    comm.send(10 * rank + 1, dest=0)
"""
    found, _ = searched(tmp_path, program, monkeypatch=monkeypatch)
    assert found.exit_code == 1
    endings = results.load(tmp_path / "out" / "result.json")["endings"]
    assert [row["first"] for row in endings if row["failed"]] == [92]
    outputs = [row for row in endings if not row["failed"]]
    assert len(outputs) == 21  # 20, and all others
    assert max(row["first"] for row in outputs) < 92


def test_deadlocks_are_told_with_who_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = RACE + "    if got[0] == 2:\n        comm.recv(source=2)\n" + TELL
    found, _ = searched(tmp_path, program, monkeypatch=monkeypatch)
    assert found.exit_code == 1
    assert "rank 0 waits for a message from rank 2 (program.py, line 8" in found.output


def test_the_order_of_two_ranks_messages_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
if rank == 0:
    last = [0] * size
    for _ in range(5 * (size - 1)):
        source, number = comm.recv(source=MPI.ANY_SOURCE)
        assert number == last[source] + 1
        last[source] = number
else:
    for number in range(1, 6):
        comm.send((rank, number), dest=0)
"""
    found, _ = searched(tmp_path, program, monkeypatch=monkeypatch)
    assert found.exit_code == 0, found.output
    assert "0 of 120 failed: PASS" in found.output


def test_what_is_not_simulated_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = searched(tmp_path, "input()\n", monkeypatch=monkeypatch)
    assert found.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_bad_input(tmp_path: Path) -> None:
    for words, arguments in {
        "a program is needed": ["--simulate", "4"],
        "found no file": ["--simulate", "4", "missing.py"],
        "Missing option '--simulate'": ["missing.py"],
    }.items():
        found = CliRunner().invoke(search, arguments)
        assert found.exit_code == 2
        assert words in found.output
    script = tmp_path / "program.py"
    script.touch()
    alone = CliRunner().invoke(run, ["-n", "2", "--net", "10gbe", "--shuffle", "1", str(script)])
    assert alone.exit_code == 2
    assert "--shuffle is for simulated ranks" in alone.output
