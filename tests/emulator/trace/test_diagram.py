"""The time-space diagram: what is picked, and what a browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emulator import results
from emulator.report import page
from emulator.trace import diagram
from emulator.trace.loading import Trace
from emulator.trace.summary import summarise
from tests.emulator.trace.recorded import record

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def _ping(turns: int, phases: bool = True) -> Trace:
    def program(comm: Any) -> None:
        box = bytearray(1000)
        if phases:
            comm.carrier.phase("<ping>")
        for turn in range(turns):
            if comm.rank == 0:
                comm.compute(1e-5)
                comm.Send(box, 1)
            elif comm.rank == 1:
                comm.Recv(box, 0)
                if turn == turns // 4:
                    comm.carrier.fault("slow", text="slow 1 @ step 3 by 2")

    return record(program, 3)


def _drawn(path: Path) -> str:
    """The page as the browser has it after its script has run."""
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_all_of_a_short_trace() -> None:
    shown = diagram.data(_ping(20))
    assert shown["note"] == "Nothing is left out."
    assert len(shown["messages"]) == 20
    assert [rank["name"] for rank in shown["ranks"]] == ["rank 0", "rank 1", "rank 2"]
    assert {message[:2] == [0, 1] for message in map(list, shown["messages"])} == {True}
    ticks = round(shown["seconds"] / shown["tick"])
    spans = [span for rank in shown["ranks"][:2] for span in rank["spans"]]
    assert all(0 <= begin < end <= ticks for begin, end, *_ in spans)
    assert shown["ranks"][1]["faults"][0][1] == "slow 1 @ step 3 by 2"
    path = shown["path"]
    assert (path[0][0], path[-1][1]) == (0, ticks)
    assert [one[1] for one in path[:-1]] == [one[0] for one in path[1:]]


def test_a_program_without_phases() -> None:
    shown = diagram.data(_ping(3, phases=False))
    assert [rank["phases"] for rank in shown["ranks"]] == [[], [], []]
    assert len(shown["messages"]) == 3


def test_of_many_messages_those_around_the_fault() -> None:
    """What is left out is said, and the fault is in the window."""
    shown = diagram.data(_ping(400), most=40)
    assert len(shown["messages"]) == 40
    assert "40 of 400 messages" in shown["note"]
    assert shown["ranks"][1]["faults"], "the fault is shown"
    assert shown["since"] > 0


def test_a_fragment_is_plain_html_with_its_data() -> None:
    text = diagram.fragment(diagram.data(_ping(5)))
    content = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert content is not None
    assert json.loads(content[1])["ranks"][0]["phases"][0][2] == "<ping>"
    assert text.count("<script") == 1
    assert "<ping>" not in text.replace(content[0], "")
    assert text.count("<tr>") - 3 == 5 + sum(len(rank["spans"]) for rank in json.loads(content[1])["ranks"]) + 1


@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium: apt-get install chromium")
def test_the_page_of_a_run_holds_it(tmp_path: Path) -> None:
    """Its figures are those of the result file, and the page stays small."""
    found = _ping(3000)
    result = results.new("ring", ["python"], ranks=3, clock="simulated")
    result["timeline"] = summarise(found) | {"diagram": json.dumps(diagram.data(found))}
    written = page.write(tmp_path / page.PAGE, [results.plain(result)])
    assert written.stat().st_size < 1_000_000
    drawn = _drawn(written)
    assert len(json.loads(result["timeline"]["diagram"])["messages"]) == 2000
    assert 100 <= drawn.count('class="tl-msg"') <= 120, "it opens where messages can be told apart"
    assert "Shown are 2,000 of 3,000 messages" in drawn
    time = r"(\S+) ([mun]?s)"
    ends = re.search(f"<output>{time} to {time}, of {time} to {time}</output>", drawn)
    assert ends is not None, "the window and the whole are on the same clock"
    seconds_of = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    begin, end, since, until = (float(ends[at]) * seconds_of[ends[at + 1]] for at in (1, 3, 5, 7))
    assert 0 < since <= begin < end <= until
    for seconds in result["timeline"]["path"].values():
        assert f'<data value="{seconds}">' in drawn


@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium: apt-get install chromium")
def test_a_browser_draws_it(tmp_path: Path) -> None:
    shown = diagram.data(_ping(30))
    written = diagram.write(shown, tmp_path / diagram.PAGE)
    drawn = _drawn(written)
    assert drawn.count('class="tl-msg"') == drawn.count('class="tl-head"') == 30
    assert drawn.count('class="tl-fault"') == 1
    assert drawn.count('class="tl-name"') == 3
    spans = sum(len(rank["spans"]) for rank in shown["ranks"])
    assert len(re.findall(r'<rect class="tl-k\d"', drawn)) == spans
