"""Running, drilling and the record of design sheets: one launch; the rest is arithmetic."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from demos._lib.design import drill
from demos.design import main
from emulator import costs, design, results
from emulator.costs import steps
from emulator.costs.replay import replay
from emulator.design.model import design_of, facts_of
from emulator.design.prices import communication
from emulator.design.prices.skeleton import skeleton, unjudged
from emulator.errors import UsageError
from tests.emulator.design.sheets import SECTION

ROOT = Path(__file__).parents[2]
CASES = ROOT / "demos" / "cases"


def _command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command of the design sheet; what starts no job runs in this process."""
    if words[0] != "run" or "--simulate" in words:
        with contextlib.chdir(cwd):
            done = CliRunner().invoke(main, words, prog_name="python -m demos.design")
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)
    return subprocess.run([sys.executable, "-m", "demos.design", *words], cwd=cwd, capture_output=True, text=True,
                          timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip


@pytest.mark.parametrize("p", [2, 3, 5, 8])
def test_programs_of_steps_agree_with_the_exact_collectives(p: int) -> None:
    for name, schedule in costs.ALL_REDUCES.items():
        programs = steps.all_reduces(np.zeros((1, p)), schedule, 1000, 4)
        took = max(replay(programs, 1e-5, 1e-9))
        assert took == pytest.approx(costs.exact(name, p, 1000, 4, 1e-5, 1e-9), rel=1e-9), name


def test_a_design_is_cut_and_says_so() -> None:
    sheet = design.load(CASES / "example_b.toml")
    made = skeleton(sheet, facts_of(sheet), design_of(sheet), most=8)
    assert (made.ranks, made.p) == (8, 6)
    assert any("cut to 6 and 2" in note for note in made.notes)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("example_b", ("communication.dense.pattern=all-reduce",)),
        ("example_b", ("communication.dense.pattern=gossip", "communication.dense.graph=ring")),
        ("example_b", ("communication.dense.pattern=federated",)),
        ("example_b", ("communication.dense.pattern=parameter-server", "communication.dense.servers=4")),
        ("rag", ()),
    ],
)
def test_a_compressed_exchange_has_the_bytes_of_its_price(name: str, changes: tuple[str, ...]) -> None:
    """Sums, gossip, rounds, dense and sparse pushes, and answers; what a whole exchange has beside it for scale."""
    whole, tenth = (design.load(CASES / f"{name}.toml", (*changes, f"communication.compression={share}"))
                    for share in (1.0, 0.1))  # fmt: skip
    made = [skeleton(sheet, facts_of(sheet), design_of(sheet), most=64, cap=1 << 30) for sheet in (whole, tenth)]
    facts, chosen = facts_of(tenth), design_of(tenth)
    for full, one in zip(made[0].exchanges, made[1].exchanges, strict=True):
        assert one.up == pytest.approx(communication.volume(chosen, one.flow, facts.parts[one.flow.of]), rel=1e-3)
        assert one.up == pytest.approx(0.1 * full.up, rel=1e-3)
        if one.touched:
            assert (one.touched, full.touched) == (400, 4000)


def test_a_term_that_the_cut_hides_is_named_with_what_runs_it_whole() -> None:
    """100 MB are 31 % of a step of 8 nodes; cut to 1 MiB they are less than the 5 % that have a verdict."""
    sheet = design.load(CASES / "example_a.toml", ("partition.nodes=8",))
    facts, chosen = facts_of(sheet), design_of(sheet)
    cut, fewer = skeleton(sheet, facts, chosen, most=8), skeleton(sheet, facts, chosen, most=4)
    share = cut.whole["bandwidth"] / cut.whole["total"]
    assert share > 0.3
    said = unjudged(cut, cut.predicted(0))
    assert said.startswith("bytes were cut to 1M: bandwidth is 0.")
    assert f"{share:.1%} of the sheet's, without a verdict here; --cap 96M runs it whole" in said
    assert "-n 8 or --simulate 8 with --cap 96M runs it whole" in unjudged(fewer, fewer.predicted(0))
    whole = skeleton(sheet, facts, chosen, most=8, cap=96 << 20)
    assert unjudged(whole, whole.predicted(0)) == ""


def test_what_has_no_drill_is_refused_by_name() -> None:
    chosen = replace(design_of(design.load(CASES / "example_a.toml")), policy="reexecute")
    with pytest.raises(UsageError, match="legal are ring: shrink"):
        drill.pattern_of(chosen)


def test_a_prediction_is_run_and_appears_in_the_receipts(tmp_path: Path) -> None:
    sheet = str(CASES / "example_a.toml")
    assert _command("predict", sheet, cwd=tmp_path).returncode == 0
    run = _command("run", sheet, "-n", "2", "--cap", "64K", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    kept = results.load(tmp_path / "runs" / "design" / "latest")
    assert kept["sheet"]["job"]["name"] == "vision"
    total = kept["design_run"]["rows"][-1]
    assert total["predicted"] == pytest.approx(total["measured"], rel=0.01)
    listed = _command("receipts", cwd=tmp_path)
    assert "all-reduce: 1 run," in listed.stdout
    assert "not run: 0" in listed.stdout
    assert "skipped" not in listed.stdout
    assert listed.stdout.split("\n")[1].split()[:3] == ["vision", "all-reduce", str(kept["design_run"]["p"])]
    (tmp_path / "runs" / "design" / "notes.txt").touch()
    (tmp_path / "runs" / "design" / "other").mkdir()
    (tmp_path / "runs" / "design" / "other" / "result.json").write_text("{}")
    assert "skipped: 2" in _command("receipts", cwd=tmp_path).stdout
    again = _command("predict", sheet, cwd=tmp_path)
    assert "so far for all-reduce: 1 run, median error" in again.stdout
    assert results.load(tmp_path / "runs" / "design" / "latest")["history"]["runs"] == 1


@pytest.mark.parametrize("name", ["rag", "swarm"])
def test_quorums_replicas_and_late_gossip_take_their_price(tmp_path: Path, name: str) -> None:
    skeleton_of = tmp_path / "sheet.toml"
    skeleton_of.write_text(re.sub("^program = .*\n", "", (CASES / f"{name}.toml").read_text(), flags=re.MULTILINE))
    done = _command("run", str(skeleton_of), "--simulate", "5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    total = results.load(tmp_path / "runs" / "design" / "latest")["design_run"]["rows"][-1]
    assert total["predicted"] == pytest.approx(total["measured"], rel=0.05)


def test_more_nodes_than_ranks_can_be_started_are_simulated(tmp_path: Path) -> None:
    sheet = str(CASES / "example_a.toml")
    done = _command("run", sheet, "--simulate", "24", "--cap", "4K", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = results.load(tmp_path / "runs" / "design" / "latest")
    assert kept["design_run"]["p"] == 21
    total = kept["design_run"]["rows"][-1]
    assert total["predicted"] == pytest.approx(total["measured"], rel=1e-6)
    assert "all-reduce: 1 run," in _command("receipts", cwd=tmp_path).stdout


def test_folders_without_a_run_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for folder in (str(tmp_path), str(tmp_path / "missing")):
        done = _command("receipts", folder, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_a_run_without_a_cut_judges_what_predict_gives(tmp_path: Path) -> None:
    """On regions, where 36 nodes are too many to follow for predict: its figure stands beside the run's own."""
    sheet = tmp_path / "section.toml"
    network = Path(__file__).parents[2] / "examples" / "networks" / "regions.toml"
    own = 'latency = "400 us"\nbandwidth = "20 Gbit/s"\n'
    sheet.write_text(
        SECTION.replace(own, f'file = "{network}"\n')
        .replace("100000000 B", "400000 B")
        .replace('algorithm = "ring"', 'algorithm = "recursive_doubling"')
    )
    options = ("--simulate", "40", "--cap", "1M", "--change", "partition.nodes=36")
    done = _command("run", str(sheet), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = results.load(tmp_path / "runs" / "design" / "latest")
    step, seen = kept["prediction"]["step"], kept["design_run"]["rows"][-1]["measured"]
    assert abs(step / seen - 1) > 0.15
    assert "off the measured, more than 15 %" in " ".join(done.stdout.split())
    cut = _command("run", str(sheet), "--simulate", "8", "--change", "partition.nodes=36", "--cap", "64K", cwd=tmp_path)
    assert "off the measured" not in cut.stdout
    _command("receipts", "runs/design", "--json", "rows.json", cwd=tmp_path)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["asked"] for row in rows] == [step, None]
