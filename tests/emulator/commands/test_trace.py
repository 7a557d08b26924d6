"""``--trace`` of an unchanged program in a whole job, and ``python -m emulator trace`` of what it left."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from emulator import results
from emulator.commands.trace import trace
from emulator.trace import perfetto
from tests.emulator.commands.test_run import job
from tests.emulator.trace.perfetto_format import checked

PROGRAM = """
from mpi4py import MPI
world = MPI.COMM_WORLD
for turn in range(5):
    if world.rank == 0:
        for _ in range(1, world.size):
            world.recv()
        world.bcast(turn)
    else:
        world.send(bytes(1000 * world.rank), 0)
        world.bcast(None)
"""


def test_an_unchanged_program_s_timeline(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ["--net", "10gbe", "--compute", "none", "--trace", "--out", str(tmp_path / "out")]
    status, output = job(3, ["-m", "emulator", "run", *options, str(program)], tmp_path)
    assert status == 0, output
    timeline = results.load(tmp_path / "out")["timeline"]
    assert sum(timeline["path"].values()) == pytest.approx(timeline["seconds"], rel=1e-9)
    assert [row["rank"] for row in timeline["ranks"]] == [0, 1, 2]
    assert not timeline["dropped"]
    found = checked(tmp_path / "out" / perfetto.FILE)
    # An object is broadcast in two messages, its size and itself.
    assert len(found["s"]) == sum(row["sent"] for row in timeline["ranks"]) == 5 * (2 + 2 * 2)
    shown = CliRunner().invoke(trace, [str(tmp_path / "out")])
    assert shown.exit_code == 0
    assert "critical path" in shown.output
    assert max(map(len, shown.output.splitlines()[:-1])) <= 80
    assert "timeline: " in output


@pytest.mark.parametrize(("content", "said"), [(None, "there is no trace in"), (b"something else", "is no trace")])
def test_a_run_without_a_trace(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "trace").mkdir()
        (tmp_path / "trace" / "000-00000.bin").write_bytes(content)
    shown = CliRunner().invoke(trace, [str(tmp_path)])
    assert shown.exit_code == 2
    assert said in shown.stderr
    assert shown.stderr.count("\n") == 1
