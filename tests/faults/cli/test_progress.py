"""What a long command prints on its way: plain lines with what is done and what is left, and results so far."""

import io
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from emulator.errors import CannotWrite
from emulator.report.model import Table
from emulator.run import console
from faults.cli.report import Report
from tests.emulator.report.test_report import DRILL


@pytest.fixture
def seconds(monkeypatch) -> list[float]:
    """What the clock of the lines says; the last one for good."""
    given = [100.0, 100.4]
    clock = SimpleNamespace(monotonic=lambda: given.pop(0) if len(given) > 1 else given[0])
    monkeypatch.setattr(console, "time", clock)
    return given


def line_with(word: str, out: io.StringIO) -> str:
    """The first line with that word, as soon as it is printed: lines may come before there is something to say."""
    while not (found := [line for line in out.getvalue().split("\n")[:-1] if word in line]):
        time.sleep(1e-3)
    return found[0]


def test_lines_say_how_much_is_done_and_how_long_the_rest_takes(seconds) -> None:
    out = io.StringIO()
    with console.progress(Console(file=out, width=100), 4, "jobs", lines_every_s=0.05) as bar:
        bar.advance(1.23456)
        assert line_with("1.2 of", out) == "jobs: 1.2 of 4 after 0 s, about 900 ms left"
        bar.advance(4)
        assert line_with("5.2 of", out) == "jobs: 5.2 of 4 after 0 s, longer than planned"


def test_what_ranks_do_is_said_beside_it(seconds) -> None:
    out = io.StringIO()
    with (
        console.progress(Console(file=out, width=100), None, lines_every_s=0.05) as bar,
        bar.beside(lambda: Table("", [], []), lambda: "4 ranks at step 7"),
    ):
        assert line_with("ranks", out) == "after 0 s; 4 ranks at step 7"


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
