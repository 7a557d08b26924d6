"""``python -m emulator run --simulate``: what it saves and prints, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from emulator import results
from emulator.commands.run import run
from emulator.launch.job import environment
from emulator.network import load

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 60.0


OPTIONS = ("--simulate", "4", "--net", "10gbe", "--out", "run")


def written(folder: Path, program: str) -> str:
    """The file of a program that begins with its imports."""
    script = folder / "program.py"
    script.write_text("import numpy as np\nfrom mpi4py import MPI\ncomm = MPI.COMM_WORLD\n" + program)
    return str(script)


def simulated(folder: Path, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a program on four simulated ranks; its run folder is ``run`` inside of `folder`."""
    command = [sys.executable, "-m", "emulator", "run", *OPTIONS, *options, written(folder, program)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, cwd=folder, check=False,
        env=environment() | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_a_result_says_that_it_is_simulated(tmp_path: Path) -> None:
    program = "comm.Send(np.zeros(1000), (comm.rank + 1) % 4)\ncomm.Recv(np.zeros(1000))\nprint(comm.rank)\n"
    ended = simulated(tmp_path, program, "--compute", "none", "--trace", "--json", "result.json")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert sorted(lines[:4]) == ["0", "1", "2", "3"]
    assert "4 simulated ranks" in ended.stdout
    found = results.load(tmp_path / "result.json")
    assert found["clock"] == "simulated"
    assert found["pace"] is None
    path = load("10gbe").sized(4).between(0, 1)
    assert found["traffic"]["seconds"] == pytest.approx(path.alpha + 8000 * path.beta, rel=1e-12)
    assert found["traffic"]["messages"] == 4
    assert found["traffic"]["bytes"] == 32_000
    assert found["fidelity"]["exact"]
    assert len(found["timeline"]["ranks"]) == 4


def test_measured_compute_is_not_called_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(run, [*OPTIONS, written(tmp_path, "comm.Barrier()\n")])
    assert ended.exit_code == 0, ended.stderr
    assert not results.load(tmp_path / "run" / "result.json")["fidelity"]["exact"]
    assert "fidelity: exact" not in ended.stdout
    assert "--compute measured" in ended.stdout


@pytest.mark.parametrize(("program", "status", "last"), [
    ("if comm.rank == 3:\n    comm.undefined\ncomm.recv()\n", 1, "AttributeError: "),
    ("if comm.rank == 3:\n    input()\ncomm.recv()\n", 2, "program.py:5: rank 3: input is not simulated"),
    ("import asyncio\nasyncio.run(asyncio.sleep(1))\n", 2, "rank 0: socket.socket is not simulated"),
    ("comm.recv(source=0)\n", 1, "0 -> 0"),
    ("if comm.rank == 3:\n    raise KeyboardInterrupt\ncomm.recv()\n", 130, "interrupted"),
])  # fmt: skip
def test_how_a_program_ends(
    tmp_path: Path, program: str, status: int, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pytest's process; that the process ends so, with what ranks print, is in the test of a result."""
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(run, [*OPTIONS, written(tmp_path, program)])
    assert ended.exit_code == status, ended.output
    lines = ended.stderr.splitlines()
    assert last in lines[-1], ended.stderr
    assert status != 2 or len(lines) == 1
    assert (lines[0] == "rank 3:" and "emulator" not in ended.stderr) if "undefined" in program else True
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("options", "words"), [
    (["--simulate", "4"], "got neither"),
    (["--simulate", "4", "--trace"], "simulated ranks need a network"),
    (["--simulate", "4", "--net", "10gbe", "--pace", "2"], "--pace is for ranks of MPI"),
    (["--simulate", "4", "--net", "10gbe", "-n", "4"], "-n is for ranks of MPI"),
    (["--simulate", "0", "--net", "10gbe"], "--simulate"),
    (["--simulate", "99999999", "--net", "10gbe"], "simulate fewer ranks"),
])  # fmt: skip
def test_bad_usage_is_one_line(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = CliRunner().invoke(run, [*options, __file__])
    assert ended.exit_code == 2
    (line,) = (ended.stderr + capsys.readouterr().err).splitlines()
    assert words in line
