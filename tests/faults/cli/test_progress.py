"""What a long command prints on its way: plain lines with what is done and what is left, and results so far."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from emulator.errors import CannotWrite
from emulator.report.model import Table
from emulator.run import console
from faults.cli.report import Report
from tests.emulator.report.test_report import DRILL


def test_lines_say_how_much_is_done_and_how_long_the_rest_takes() -> None:
    out = io.StringIO()
    with console.progress(Console(file=out, width=100), 4, "jobs", lines_every_s=0.05) as bar:
        bar.advance(1.23456)
        while "\n" not in out.getvalue():
            time.sleep(0.01)
    first = out.getvalue().splitlines()[0]
    assert first.startswith("jobs: 1.2 of 4 after 0 s, about ")
    assert first.endswith(" left")


def test_what_ranks_do_is_said_beside_it() -> None:
    out = io.StringIO()
    with (
        console.progress(Console(file=out, width=100), None, lines_every_s=0.05) as bar,
        bar.beside(lambda: Table("", [], []), lambda: "4 ranks at step 7"),
    ):
        while "\n" not in out.getvalue():
            time.sleep(0.01)
    assert out.getvalue().splitlines()[0] == "after 0 s; 4 ranks at step 7"


def test_a_short_task_prints_nothing_into_a_pipe() -> None:
    out = io.StringIO()
    with console.progress(Console(file=out, width=100), 4, "jobs") as bar:
        bar.advance()
    assert out.getvalue() == ""


def test_a_full_disk_ends_a_command_and_what_was_measured_until_then_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("faults", False, str(tmp_path), None, quiet=False)

    def drill() -> None:
        with report.begun(4):
            report.save(drill=DRILL)
            raise CannotWrite(tmp_path / "digits.npy", "No space left on device")

    with pytest.raises(CannotWrite, match=r"digits\.npy"):
        drill()
    assert "recovered" in capsys.readouterr().out
