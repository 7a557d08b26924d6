"""The design command: every verb on the shipped sheets, what it prints and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from demos.design import CASES, main
from emulator import design, results

HERE = Path(__file__).parents[2] / "demos" / "cases"
B = str(HERE / "example_b.toml")


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, list(arguments))
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_new_checked_planned_and_drawn(tmp_path, case):
    path, saved = tmp_path / "mine.toml", tmp_path / "planned.toml"
    path.write_text(run("new", "--case", case)[1])
    assert run("check", str(path))[0] == 0
    status, said, _ = run("plan", str(path), "--save", str(saved))
    assert status == 0
    assert "wins: " in said
    assert "the default: " in said
    assert len(said.splitlines()) <= 43  # one screen, with the line about the file
    assert run("check", str(saved))[0] == 0
    status, said, _ = run("predict", str(saved))
    assert "nodes to ask for" in said
    status, drawn, _ = run("draw", str(saved))
    assert ElementTree.fromstring(drawn).get("viewBox").startswith("0 0 800 ")
    assert "prefers-color-scheme: dark" in drawn
    assert all(len(line) <= 80 for line in said.splitlines())


def test_the_readmes_picture_is_what_draw_draws():
    assert run("draw", B)[1] == (HERE.parents[1] / "docs" / "clicks.svg").read_text(encoding="utf-8")


def test_a_case_and_an_example_are_not_one_sheet():
    status, said, error = run("new", "--case", "rag", "--example", "B")
    assert (status, said, error.count("\n")) == (2, "", 1)
    assert "got --case rag and --example B: give one" in error
    assert run("new")[1] == (HERE / "example_a.toml").read_text(encoding="utf-8")


def test_a_run_of_one_node_is_refused_by_its_field():
    status, _, error = run("run", str(HERE / "example_a.toml"), "--change", "partition.nodes=1", "--simulate", "4")
    assert status == 2
    assert "partition.nodes: a skeleton exchanges messages among at least 2 nodes, got 1" in error


def test_the_help_of_plan_says_which_p_is_taken():
    said = " ".join(run("plan", "--help")[1].split())
    assert "p is the smallest whose job takes at most 5 % longer" in said
    found = design.plan(design.load(B))
    jobs = found.winner.priced.job
    assert found.winner.nodes == int(found.winner.priced.p[np.flatnonzero(jobs <= 1.05 * jobs.min())[0]])


def test_b_with_all_reduce_is_refused_with_the_figures(tmp_path):
    changes = ["--change", "communication.table.pattern=all-reduce", "--change", "communication.table.servers=0"]
    status, said, error = run("check", B, *changes, "--json", str(tmp_path / "found.json"))
    assert status == 1
    assert "times less" in said
    assert error.count("\n") == 1
    assert {1, 3} <= {one["rule"] for one in json.loads((tmp_path / "found.json").read_text())}


def test_a_change_stands_beside_the_sheet():
    status, said, _ = run("predict", B, "--change", "consistency.model=bounded", "--change", "consistency.bound=4")
    assert status == 0
    assert "opens again: " in said
    assert "consistency (rule 4)" in said
    assert "not priced: the effect on progress of bounded updates" in said


def test_sensitivity_tolerance_and_tools():
    assert "alpha x" in run("predict", B, "--sensitivity")[1]
    margins = run("tolerance", B)[1]
    assert "first order" not in margins  # all nodes and paths are alike
    assert "by formulas of first order" in run("tolerance", B, "--change", "network.ranks_per_host=4")[1]
    assert "may grow by" in margins
    assert "over 60 x" in next(line for line in margins.splitlines() if line.startswith("spread"))  # 0.05 up to 3
    said = run("tools", B)[1]
    assert "DistributedDataParallel" in said
    for slot in ("partition", "communication", "consistency", "coordination", "fault tolerance", "load balancing"):
        assert slot in said
    script = run("tools", B, "--export", "torchrun")[1]
    compile(script, "script.py", "exec")
    assert "p={dist.get_world_size()} bytes=" in script


@pytest.mark.parametrize("verb", ["check", "predict", "plan", "tolerance", "tools"])
def test_lines_fit_the_screen(monkeypatch, verb):
    for columns in ("", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        lines = run(verb, str(HERE / "rag.toml"))[1].splitlines()
        assert lines
        assert not [line for line in lines if len(line) > int(columns or 80) and "kept for receipts" not in line]


def test_the_optimum_at_the_limit_is_said_to_be_one():
    assert "p* = 12 with 4 beside them is the limit, [job] most = 16" in run("predict", B, "--change", "job.most=16")[1]
    assert "is the limit" not in run("predict", B)[1]


def test_terms_come_with_their_intervals(tmp_path):
    path = tmp_path / "latency.txt"
    path.write_text("# OSU MPI Latency Test v7\n0 1.2\n1 1.22\n1024 1.9\n65536 12.2\n1048576 120.2\n")
    said = " ".join(run("predict", B, "--terms", str(path))[1].split())
    assert re.search(r"alpha 1\.\d+ us \(\S+ \S+ to \S+ us\), beta 0\.1\d+ ns/B \(0\S+ ns/B to 0\S+ ns/B\)", said)


def test_a_network_file_lies_beside_its_sheet(tmp_path):
    (tmp_path / "own.toml").write_text('[link]\nlatency = "77 us"\nbandwidth = "1 Gbit/s"\n')
    sheet = tmp_path / "sheet.toml"
    sheet.write_text(Path(B).read_text().replace('preset = "25gbe"', 'file = "own.toml"'))
    assert "alpha 77.0 us" in run("predict", str(sheet))[1]
    (tmp_path / "apart").mkdir()
    saved = str(tmp_path / "apart" / "best.toml")
    assert run("plan", str(sheet), "--save", saved)[0] == 0
    assert "alpha 77.0 us" in run("predict", saved)[1]


def test_a_cap_of_no_bytes_is_refused():
    status, _, error = run("run", B, "--cap", "0")
    assert (status, error.count("\n")) == (2, 1)
    assert "--cap must be at least 1 byte, got 0" in error


def test_a_prediction_loads_neither_the_planner_nor_the_reviewer_nor_mpi():
    code = "import sys; from demos.design import main; main(['predict', sys.argv[1]], standalone_mode=False)"
    lists = "import atexit, sys; atexit.register(lambda: print('\\n'.join(sys.modules)));"
    done = subprocess.run(
        [sys.executable, "-c", lists + code, B], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.splitlines()
    assert "emulator.design.prices.pricing" in loaded
    assert not {"emulator.design.planning.planner", "emulator.design.reviewing.review", "rich", "mpi4py.MPI"} & set(
        loaded
    )


def test_terms_from_a_benchmark(tmp_path):
    path = tmp_path / "timings.txt"
    path.write_text("p=2 bytes=100000000 seconds=0.0408\np=16 bytes=100000000 seconds=0.087\n")
    said = run("predict", B, "--terms", str(path))[1]
    assert f"two-pointtimingin{path}" in "".join(said.split())  # wherever the line was broken
    assert "warning: measured on at most 16 ranks: what is said of p > 16 is extrapolated" in said


def test_a_changed_figure_of_failures_stands_in_its_own_column():
    said = run("predict", B, "--change", 'fault_tolerance.recovery="8 s"')[1].splitlines()
    assert next(line for line in said if line.startswith("recovery ")).split()[1:] == ["2.90", "s", "8.00", "s"]


def test_what_is_not_known_of_failures_has_no_price():
    def lost(*change):
        return next(line for line in run("predict", B, *change)[1].splitlines() if line.startswith("lost to failures"))

    assert lost().split()[-2:] == ["not", "priced"]
    assert lost("--change", 'job.mtbf="1000 h"').endswith("%")


def test_the_plan_shows_the_memory_of_the_fullest_machine():
    said = run("plan", B)[1].splitlines()
    first = said[next(number for number, line in enumerate(said) if line.startswith(" nodes")) + 1]
    assert "800 MB  dense by all-reduce" in first  # a server's; a node holds 18.1 MB
    assert any(line.endswith("800 MB of 32 GB") for line in said)


def test_a_plan_merges_cuts_of_one_rule_and_lists_all_when_asked():
    sheet = str(HERE / "recommendation.toml")
    screen, full = run("plan", sheet)[1], run("plan", sheet, "--full")[1]
    found = design.plan(design.load(sheet))
    assert full.count(" times as much") == len(found.ranked)  # the winner's reason says it of the next
    assert screen.count("too much for a node") == 1
    assert full.count("too much for a node") == sum("too much" in reason for reason in found.cut)
    cuts = [
        re.findall(r"^ {2,5}(\d+)  ", text.partition("\ncut by rules\n")[2], re.MULTILINE) for text in (screen, full)
    ]
    assert [sum(map(int, counts)) for counts in cuts] == [sum(found.cut.values())] * 2


def test_a_rule_that_is_broken_twice_is_one_rule():
    status, said, error = run("check", B, "--change", "job.liars=5")
    assert (status, said.count("error 11")) == (1, 2)
    assert "1 of 17 rules must be met" in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "nowhere.toml"],
        ["predict", B, "--change", "consistency.model=eventually"],
        ["predict", B, "--change", 'network.preset="26gbe"'],
        ["predict", B, "--terms", B],
        ["plan", B, "--change", 'job.memory="1 MB"'],
        ["check", B, "--change", "partition.nodes=0"],
        ["frobnicate"],
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments):
    status, said, error = run(*arguments)
    assert (status, said) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_long_names_and_sentences_stay_within_their_place(tmp_path):
    """A title is cut before the figures, a name in a box within the box; a word longer than a line is broken."""
    name = "atmosphere-and-ocean-and-ice-and-snow-" * 4
    path = tmp_path / "long.toml"
    path.write_text(
        (HERE / "example_a.toml").read_text().replace('"model"', f'"{name}"').replace('"vision"', f'"{name}"')
    )
    status, drawn, _ = run("draw", str(path))
    assert status == 0
    for text in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text"):
        limit = {"title": 42, "small": 60}.get(text.get("class"), 90)
        assert len(text.text or "") <= limit, text.text
    assert all(len(line) <= 80 for line in run("predict", str(path))[1].splitlines())


def test_timings_that_no_terms_give_are_refused(tmp_path):
    path = tmp_path / "timings.txt"
    path.write_text("p=2 bytes=100000000 seconds=0.087\np=16 bytes=100000000 seconds=0.0408\n")
    status, said, error = run("predict", B, "--terms", str(path))
    assert (status, said, error.count("\n")) == (2, "", 1)
    assert "two timings must allow an alpha and a beta >= 0" in error


@pytest.mark.parametrize("program", ["nosuch.module", "json"])
@pytest.mark.parametrize("verb", ["check", "predict", "plan"])
def test_a_program_that_is_none_is_refused_before_anything_is_priced(tmp_path, verb, program):
    sheet = tmp_path / "own.toml"
    text = (HERE / "rag.toml").read_text()
    sheet.write_text(text.replace('program = "demos.cases.rag"', f'program = "{program}"'))
    status, _, said = run(verb, str(sheet))
    assert status == 2
    assert f"got {program!r}" in said
    assert len(said.splitlines()) == 1


def test_two_patterns_for_one_part_are_refused(tmp_path):
    sheet = tmp_path / "twice.toml"
    sheet.write_text(Path(B).read_text() + '\n[[communication]]\npattern = "gossip"\nof = "table"\n')
    status, _, said = run("check", str(sheet))
    assert status == 2
    assert "communication.of names every state and task once, got table" in said


@pytest.mark.parametrize(("sheet", "sliders"), [("example_a.toml", True), ("example_b.toml", False)])
def test_the_page_of_a_prediction_has_its_speedup_and_its_network(tmp_path, sheet, sliders):
    """A model with sliders only where it prices the sheet alike: example B has a server and a table beside the sum."""
    assert run("predict", str(HERE / sheet), "--out", str(tmp_path))[0] == 0
    result = results.load(tmp_path)
    one = result["prediction"]
    priced = design.predict(design.load(str(HERE / sheet)))
    assert one["curve"]["dominated"] == priced.dominated()
    expected = [priced.at(p)["speedup"] for p in one["curve"]["p"]]
    assert one["curve"]["speedup"] == pytest.approx(expected, rel=1e-12)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"p* = {one['p_star']}" in page
    assert ("data-scenario=" in page) is sliders
    assert "<dd>priced</dd>" in page
    assert "none emulated" not in page
    if sliders:
        assert one["model"]["best"]["p"] == one["p_star"]
        assert one["model"]["dominated"]["p"] == one["curve"]["dominated"]
