"""Programs of one's own: what is refused, in one line with the call or the command to use."""

import contextlib
import re
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from mpi4py import MPI

from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.__main__ import main
from faults.platform import LOCAL
from faults.recover import recovering
from faults.recover.multilevel import Levels
from faults.recover.restart import restarting
from faults.recover.user_loop import preconditions, preemption
from tests.faults.launch.own_programs import finish, needs_ulfm


def refusal(done: subprocess.CompletedProcess) -> str:
    """The one line of a program that all ranks refuse alike."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return line


@pytest.mark.parametrize("notice", ["SIGTERM", signal.SIGKILL, signal.SIGSTOP, 15, True])
def test_a_notice_that_could_never_come_is_refused(notice) -> None:
    with pytest.raises(UsageError, match=r"notice is a signal that a process can handle, .* got "):
        preemption.listening(notice, LOCAL.executioner)


def test_rejoin_is_asked_and_so_a_callable(monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(UsageError, match=r"rejoin must be a callable .*, got True"):
        recovering(MPI.COMM_SELF, {}, policy="rejoin", rejoin=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "call"),
    [
        ("restart", r"use faults.restarting\(comm, state, folder\)"),
        ("continue", r"use faults.routing\(comm\)"),
        ("replicate", "ParameterServer with replicas=2"),
        ("reexecute", r"use faults.reexecute\("),
        (
            "prayer",
            "a policy is one of shrink, spare, respawn, restart, continue, replicate, reexecute, rejoin, got 'prayer'",
        ),
    ],
)
def test_a_policy_of_another_call_is_refused_with_that_call(monkeypatch, policy: str, call: str) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(UsageError, match=call):
        preconditions.check_policy(policy)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"w": np.zeros(4), "n": 0}, "a state holds numpy arrays only, got int as 'n': np.array(0)"),
        ({"n": np.float64(0.5)}, "a state holds numpy arrays only, got float64 as 'n': np.array(0.5)"),
        ({"n": [1, 2]}, "a state holds numpy arrays only, got list as 'n': np.array(...)"),
        ({"n": np.array([None])}, "a state holds arrays of numbers only, got dtype object as 'n': np.array(..., dtype"),
        ({"n": np.array("x")}, "a state holds arrays of numbers only, got dtype <U1 as 'n': np.array(..., dtype"),
        ({3: np.zeros(4)}, "the keys of a state are str, got 3 (int): '3'"),
        (np.zeros(4), "a state is a dict of numpy arrays, got ndarray: {'name': array}"),
    ],
)
def test_a_state_of_anything_but_arrays_of_numbers_is_refused_at_every_call(monkeypatch, state: Any, said: str) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for call in (
        lambda: recovering(MPI.COMM_SELF, state),
        lambda: restarting(MPI.COMM_SELF, state, "unused"),
        lambda: Levels(state),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            call()


@needs_ulfm
@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("a number in its state", "got int as 'n': np.array(0)"),
        ("reexecute", "use faults.reexecute("),
        ("restarting", "leave it out, or python -m faults run --recovery restart -n 2"),
    ],
)
def test_what_another_call_is_for_is_one_line(program, what: str, call: str) -> None:
    command = mpirun.command(2, [str(program), what, "checkpoints"], ft=True)
    assert call in refusal(finish(command, program.parent))


@needs_ulfm
@pytest.mark.parametrize("what", ["recovering", "routing"])
def test_a_job_that_would_die_silently_is_refused_with_the_command_to_use(program, what: str) -> None:
    line = refusal(finish(mpirun.command(2, [str(program), what]), program.parent))
    assert f"mpirun --with-ft ulfm --mca async_mpi_finalize 1 -n 2 python {program} {what}" in line


@pytest.mark.parametrize(
    ("vendor", "library"),
    [
        (("MPICH", (4, 2, 0)), "MPICH Version:      4.2.0\nMPICH ABI"),
        (("Open MPI", (4, 1, 6)), "Open MPI v4.1.6, package: x"),
    ],
)
def test_an_mpi_whose_jobs_never_survive_a_death_is_named_with_what_works_there(monkeypatch, vendor, library) -> None:
    world = SimpleNamespace(Get_size=lambda: 4)
    found = SimpleNamespace(COMM_WORLD=world, get_vendor=lambda: vendor, Get_library_version=lambda: library)
    monkeypatch.setattr(preconditions, "MPI", found)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(UsageError, match=f"routing needs an MPI .* found {vendor[0]} .*, or use faults.restarting"):
        preconditions.check_survival("routing")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (["nofile.py"], "'nofile.py' does not exist"),
        (["--fault", "kill 2 @ step 20", "program.py"], "has an option --fault"),
        (["."], ". is a folder"),
        (["-m", "no.such_module"], "a module that can be run, got no.such_module"),
        (["--trace", "nofile.py"], "'nofile.py' does not exist"),
        (["--trace", "-u", "nofile.py"], "got Python's option -u"),
        (["--trace-limit", "5", "nofile.py"], "--trace-limit is for --trace"),
    ],
)
def test_a_program_that_is_not_there_is_refused_before_anything_starts(tmp_path, program, said) -> None:
    with contextlib.chdir(tmp_path):
        done = CliRunner().invoke(main, ["run", "-n", "4", *program])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert said in done.stderr
    assert not (tmp_path / "runs" / "program").exists()
