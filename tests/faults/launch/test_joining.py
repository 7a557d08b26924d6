"""New processes that die before they have joined, or right after, in a program of one's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from mpi4py import MPI

from faults.inject.drill_context import DrillContext
from faults.platform import LOCAL
from faults.recover.replacements import admission, new_process
from tests.faults.launch.own_programs import ROOT, faults_run, needs_ulfm


@needs_ulfm
@pytest.mark.parametrize(("every", "point", "ranks"), [("0", "import", "4 ranks"), ("2", "step", "")])
def test_others_are_started_for_new_processes_that_die(tmp_path, every: str, point: str, ranks: str) -> None:
    """A death in the step that follows the join may come too late for another one."""
    program = ["-m", "tests.faults.programs.joining", every, point]
    done = faults_run(tmp_path, "-n", 4, "--recovery", "rejoin", *program, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert f"sum 400 of {ranks}" in done.stdout
    assert (tmp_path / "died").exists()


def test_a_new_process_whose_starter_has_died_ends_without_a_word() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    address = f"{os.uname().nodename}:{port}:password"
    command = [sys.executable, "-I", "-S", new_process.__file__, address, "false"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("connection", "struck"), [("7", [signal.SIGKILL]), ("", [])])
def test_a_new_process_ends_without_a_word_if_a_rank_dies_before_it_has_its_place(
    monkeypatch, capsys, connection: str, struck: list[signal.Signals]
) -> None:
    ended: list[signal.Signals] = []
    monkeypatch.setattr(admission, "_MINE", connection)
    monkeypatch.setattr(LOCAL.executioner, "strike", ended.append)
    with pytest.raises(MPI.Exception), admission.joining(DrillContext()):
        raise MPI.Exception(MPI.ERR_OTHER)
    assert ended == struck
    assert capsys.readouterr() == ("", "")
