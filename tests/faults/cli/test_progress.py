"""Progress in a pipe: plain lines with what is done and what is left."""

import io
import time

from rich.console import Console

from emulator.report.model import Table
from emulator.run import console


def test_lines_say_how_much_is_done_and_how_long_the_rest_takes() -> None:
    out = io.StringIO()
    with console.progress(Console(file=out, width=100), 4, "jobs", lines_every_s=0.05) as bar:
        bar.advance()
        while "\n" not in out.getvalue():
            time.sleep(0.01)
    first = out.getvalue().splitlines()[0]
    assert first.startswith("1 of 4 jobs after 0 s, about ")
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
