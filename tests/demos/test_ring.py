"""The ring demo, run: right sums, the whole result file, emulated terms recovered, bad input refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from demos.speedup import main as speedup_command
from emulator import costs, results
from emulator.__main__ import main as emulator_command
from emulator.commands.report import report
from emulator.launch import mpirun
from emulator.launch.job import start
from emulator.report import page
from primitives.collectives.all_reduce import ALGORITHMS
from primitives.collectives.tuning import choose
from tests.demos.launched import WIDE, refuse, run_demo, same_as_reported, simulate_demo
from tests.ranks import on_ranks

ROOT = Path(__file__).resolve().parents[2]
ONE_LINK = "tests/data/one_link.toml"
ALPHA, BETA = 50e-6, 0.8e-9


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A short run on the machine's own transport."""
    folder = tmp_path_factory.mktemp("ring")
    return run_demo("ring", 3, folder, "--sizes", "4,1K,64K", "--ranks", "2,3", "--budget", "0.4")


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """All algorithms on one link, 3 ranks: no power of two, and a block of a third of two elements."""
    folder = tmp_path_factory.mktemp("ring")
    options = ("--net", ONE_LINK, "--sizes", "8,12,96K", "--algorithm", "all", "--budget", "0.3", "--t-comp", "10 ms")
    return run_demo("ring", 3, folder, *options)


def test_a_run_leaves_medians_beside_the_native_ones(measured):
    assert measured.status == 0, measured.text
    rows = [row for row in measured.result["measurements"] if row["pattern"] == "ring"]
    assert [(row["ranks"], row["bytes"]) for row in rows] == [(p, n) for p in (2, 3) for n in (4, 1024, 65536)]
    for row in rows:
        assert row["wrong"] == 0
        assert row["seconds"]["median"] > 0
        assert row["native"]["median"] > 0
        assert row["busbw"] == pytest.approx(row["algbw"] * 2 * (row["ranks"] - 1) / row["ranks"])
        assert row["seconds"]["stopped"] in ("interval", "budget", "repetitions")


def test_the_medians_are_those_of_the_raw_samples(measured):
    samples = results.load_samples(measured.folder)
    row = next(row for row in measured.result["measurements"] if (row["pattern"], row["ranks"]) == ("ring", 3))
    mine = [s["seconds"] for s in samples if (s["pattern"], s["ranks"], s["bytes"]) == ("ring", 3, row["bytes"])]
    assert len(mine) == row["seconds"]["n"]
    assert sorted(mine)[len(mine) // 2] >= row["seconds"]["median"] >= sorted(mine)[(len(mine) - 1) // 2]


def test_link_and_collective_are_fitted_and_the_most_ranks_held_out(measured):
    result = measured.result
    assert [(fit["level"], fit["pattern"]) for fit in result["fits"]] == [("link", "link"), ("collective", "ring")]
    for fit in result["fits"]:
        if all(row["seconds"]["n"] >= 6 for row in result["measurements"]):
            low, high = fit["alpha"]["ci95"]
            assert low <= high
    assert {row["ranks"] for row in result["held_out"]} == {3}
    assert result["fitted_up_to"] == 2
    assert set(result["contention"]["ring"]) == {"alpha", "beta"}


def full_report(folder):
    """All that there is to say of a run, on lines that are long enough."""
    return CliRunner().invoke(report, [str(folder), "--full"], env=WIDE).stdout


def test_it_says_what_it_means_and_what_makes_it_doubtful(measured):
    assert "p* = " in measured.text
    assert "in each step, 100 ms on one node (--t-comp)" in measured.text
    assert "#wrong" in measured.text
    assert measured.result["warnings"] or measured.result["environment"]["oversubscription"] <= 1
    everything = full_report(measured.folder)  # one screen has three warnings
    assert "time us" in everything
    for warning in measured.result["warnings"]:
        assert f"- {warning}" in " ".join(everything.split())  # long ones are wrapped


def test_every_algorithm_takes_its_closed_form_in_emulated_time(emulated):
    assert emulated.status == 0, emulated.text
    rows = [row for row in emulated.result["measurements"] if row["pattern"] != "link"]
    assert {row["pattern"] for row in rows} == set(ALGORITHMS)
    for row in rows:
        assert row["wrong"] == 0
        assert row["native"] is None
        expected = costs.exact(row["pattern"], row["ranks"], row["bytes"] // 4, 4, ALPHA, BETA)
        assert row["seconds"]["median"] == pytest.approx(expected, rel=1e-6)
        if row["pattern"] == "ring":  # the others are fitted with ranks among which messages queue
            assert row["predicted"] == pytest.approx(expected, rel=1e-4)


def test_the_default_of_all_reduce_says_what_it_stood_for(tmp_path):
    options = ("--net", ONE_LINK, "--sizes", "8,1M", "--algorithm", "auto", "--budget", "0.5", "--t-comp", "10 ms")
    done = simulate_demo("ring", 4, tmp_path, *options)
    assert done.status == 0, done.text
    rows = [row for row in done.result["measurements"] if row["pattern"] == "auto"]
    assert [(row["ranks"], row["bytes"]) for row in rows] == [(p, n) for p in (2, 4) for n in (8, 1 << 20)]
    for row in rows:
        assert row["algorithm"] == choose(row["ranks"], row["bytes"], ALPHA, BETA, 0.0)
        expected = costs.exact(row["algorithm"], row["ranks"], row["bytes"] // 4, 4, ALPHA, BETA)
        assert row["seconds"]["median"] == pytest.approx(expected, rel=1e-6)
        assert row["busbw"] == pytest.approx(row["algbw"] * 2 * (row["ranks"] - 1) / row["ranks"])
    assert len({row["algorithm"] for row in rows}) > 1
    assert done.result["meaning"][0]["algorithm"] == rows[-1]["algorithm"]
    assert "its algorithm differs between sizes and numbers of ranks" in done.text
    outcome = CliRunner().invoke(speedup_command, ["--from", str(tmp_path), "--nodes", "2"])
    assert f"auto, here {rows[-1]['algorithm']}, of 1M" in outcome.output


def test_a_fit_is_not_called_a_prediction_of_what_it_was_fitted_to(measured):
    rows = [row for row in measured.result["measurements"] if row["pattern"] == "ring"]
    assert {row["ranks"]: row["held_out"] for row in rows} == {2: False, 3: True}
    unseen = {row["bytes"]: row["predicted"] for row in measured.result["held_out"]}
    assert {row["bytes"]: row["predicted"] for row in rows if row["held_out"]} == pytest.approx(unseen)
    everything = full_report(measured.folder)
    heads = [line for line in everything.splitlines() if "time us" in line]
    assert ["fitted us" in line for line in heads] == [True, False]
    assert ["predicted us" in line for line in heads] == [False, True]


def slower(folder, factor, other):
    """A copy of a run whose every time is `factor` times as long."""
    content = results.load(folder)
    rows = [{**row, "seconds": factor * row["seconds"]} for row in results.load_samples(folder)]
    other.mkdir()
    results.save(content, other / "result.json")
    results.save_samples(other, rows)
    return other


def test_launches_are_pooled_into_one_result(measured, tmp_path):
    folders = [
        measured.folder,
        slower(measured.folder, 1.1, tmp_path / "2"),
        slower(measured.folder, 1.2, tmp_path / "3"),
    ]
    done = pool(*folders, "--out", tmp_path / "pool")
    assert done.exit_code == 0, done.stderr
    result = results.load(tmp_path / "pool")
    assert result["launches"] == 3
    once = {(row["pattern"], row["ranks"], row["bytes"]): row["seconds"] for row in measured.result["measurements"]}
    for row in (row for row in result["measurements"] if row["pattern"] == "ring"):
        before, seconds = once[row["pattern"], row["ranks"], row["bytes"]], row["seconds"]
        assert seconds["n"] == 3 * before["n"]
        assert seconds["median"] == pytest.approx(1.1 * before["median"])  # of the launches' medians
        assert (
            seconds["ci95"] is None
            or seconds["ci95"][0] < before["median"] < 1.2 * before["median"] < seconds["ci95"][1]
        )
    assert [fit["pattern"] for fit in result["fits"]] == ["link", "ring"]
    for pooled, alone in zip(result["fits"], measured.result["fits"], strict=True):
        for term in ("alpha", "beta"):
            assert pooled[term]["value"] == pytest.approx(1.1 * alone[term]["value"], rel=0.01, abs=1e-12)
    assert "Each launch by itself" in done.stdout


def test_several_launches_are_one_result_and_one_screen(tmp_path):
    options = ["--launches", "2", "--sizes", "4,1K", "--ranks", "2", "--budget", "0.3", "--out"]
    command = [sys.executable, "-m", "demos.ring", "-n", "2", *options, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=os.environ | WIDE)
    assert done.returncode == 0, done.stdout + done.stderr
    result, samples = results.load(tmp_path), results.load_samples(tmp_path)
    assert result["launches"] == 2
    assert {row["launch"] for row in samples} == {0, 1}
    for row in (row for row in result["measurements"] if row["pattern"] == "ring"):
        mine = [[s["seconds"] for s in samples if (s["pattern"], s["bytes"], s["launch"]) == ("ring", row["bytes"], k)]
                for k in (0, 1)]  # fmt: skip
        assert row["seconds"]["n"] == len(mine[0]) + len(mine[1])
        assert row["seconds"]["median"] == pytest.approx(np.mean([np.median(one) for one in mine]))
    assert len(re.findall("wall clock, .*\npython -m demos.ring", done.stdout)) == 1
    assert same_as_reported(done.stdout, tmp_path) == page.where(tmp_path).text
    assert pool(tmp_path, tmp_path).exit_code == 2


def test_one_repetition_gives_no_interval(tmp_path):
    done = run_demo("ring", 2, tmp_path, "--sizes", "4,8", "--budget", "0.000001")
    assert done.status == 0, done.text
    assert {row["seconds"]["n"] for row in done.result["measurements"]} == {1}
    assert {row["seconds"]["ci95"] for row in done.result["measurements"]} == {None}
    assert {fit["alpha"]["ci95"] for fit in done.result["fits"]} == {None}
    assert done.result["meaning"][0]["best_ci95"] is None
    assert "jobs have fewer than 6 repetitions" in done.text
    assert "95 % intervals" not in done.text


def test_a_reader_that_leaves_does_not_cost_the_result(tmp_path):
    program = ["-m", "demos.ring", "--out", str(tmp_path), "--sizes", "4,1K", "--ranks", "2", "--budget", "0.2"]
    with start(mpirun.command(2, program), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as job:
        assert job.process.stdout.readline()
        job.process.stdout.close()  # mpirun ends the job when it next prints
        with job.process.stderr as stream:
            errors = stream.read()
        assert job.wait(60) is not None
    assert b"Traceback" not in errors
    assert [fit["pattern"] for fit in results.load(tmp_path)["fits"]] == ["link", "ring"]


def test_what_cannot_be_pooled_is_refused(measured, emulated, tmp_path):
    results.save(results.new("links", ["python", "x"]), tmp_path / "result.json")

    def changed(content, name):
        (tmp_path / name).mkdir()
        return results.save(content, tmp_path / name / "result.json").parent

    def elsewhere(what, value):
        content = measured.result
        return changed({**content, "environment": {**content["environment"], what: value}}, what)

    fewer = changed({**measured.result, "measurements": measured.result["measurements"][:-1]}, "fewer")
    for folders, said in [
        ([measured.folder], "2 run folders or more, got 1"),
        ([measured.folder, measured.folder], "only launches of the runs before it: name each run once"),
        ([measured.folder, emulated.folder], "on an emulated network, where launches do not differ"),
        ([measured.folder, tmp_path], "a pool is of results of demos.ring, got that of python x"),
        ([measured.folder, elsewhere("ranks", 4)], f"the same ranks, got 3 in {measured.folder} and 4 in"),
        ([measured.folder, elsewhere("mpi", "MPICH")], "the same mpi, got Open MPI"),
        ([measured.folder, elsewhere("cpu", "6502")], "and 6502 in"),
        ([measured.folder, fewer], f"the same patterns, ranks and sizes, {measured.folder} and {fewer} do not"),
    ]:
        done = pool(*folders)
        assert done.exit_code == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def pool(*arguments):
    return CliRunner().invoke(emulator_command, ["pool", *map(str, arguments)])


def test_configured_terms_are_recovered(emulated):
    link = emulated.result["fits"][0]
    assert link["configured"] == {"alpha": ALPHA, "beta": BETA}
    assert link["alpha"]["value"] == pytest.approx(ALPHA, rel=1e-6)
    assert link["beta"]["value"] == pytest.approx(BETA, rel=1e-6)
    assert emulated.result["clock"] == "emulated"
    assert emulated.result["fidelity"]["overrun_share"] == 0
    assert "PASS" in emulated.text
    assert "FAIL" not in emulated.text


REFUSED = {
    "--ranks 1,2": "needs at least 2 ranks, got --ranks 1",
    "--ranks 2,5": "this job's 2 ranks, got 5",
    "--sizes 6,8": "whole numbers of float32",
    "--sizes 8": "at least 2 sizes",
    "--sizes 0,4": "at least 2 sizes above 0 to be told apart, got 1",
    "--sizes 8,1000000G": "choose smaller --sizes",
    "--algorithm star": "'star' is not one of",
    "--net nowhere": "nowhere",
    "--t-comp '-1 s'": "a time is a number >= 0",
    "--t-comp 0": "must be > 0 s, got --t-comp 0",
    "--launches 3": "mpirun starts one launch, got --launches 3: python -m demos.ring -n N",
}


@on_ranks(2, options=list(REFUSED))
def test_bad_input_is_one_line_and_status_2(comm, options):
    assert REFUSED[options] in refuse(comm, "ring", options)
