"""demos.scale: four patterns on simulated ranks beside their closed forms, and why the two part."""

import pytest
from click.testing import CliRunner

from demos import scale
from emulator import costs, results
from emulator.network import load
from emulator.units import format_time


def run(folder, *arguments):
    done = CliRunner().invoke(scale.main, ["--out", str(folder), *arguments])
    return done, (results.load(folder) if done.exit_code == 0 else None)


def test_forms_hold_on_a_uniform_network(tmp_path):
    done, result = run(tmp_path, "--net", "100gbe", "--nodes", "4,8,512", "--bytes", "8K", "--live", "8")
    assert done.exit_code == 0, done.output
    assert result["clock"] == "simulated"
    rows = {(row["pattern"], row["ranks"]): row for row in result["scale"]["rows"]}
    for row in rows.values():
        if row["simulated"] is not None:
            assert row["predicted"] == pytest.approx(row["simulated"], rel=0.01)
    far = rows["all-reduce", 512]
    path = load("100gbe").between(0, 1)
    assert far["how"] == "replayed"
    assert far["simulated"] == pytest.approx(
        costs.seconds(far["algorithm"], 512, 8192, path.alpha, path.beta), rel=1e-9
    )
    assert rows["scatter-gather", 512]["simulated"] is None
    assert "part from" not in done.output
    assert "~: by its closed form; beyond --live 8 nodes only all-reduces are simulated" in done.output
    said = rows["scatter-gather", 512]["predicted"]
    assert f"~{format_time(said)}" in done.output
    assert f"~{format_time(far['predicted'])}" not in done.output


def test_every_rank_gives_the_replayed_times(tmp_path):
    arguments = ["--net", "10gbe", "--nodes", "4,8", "--bytes", "1K", "--quiet"]
    replayed = run(tmp_path / "replayed", *arguments)[1]["scale"]["rows"]
    live = run(tmp_path / "live", *arguments, "--every-rank")[1]["scale"]["rows"]
    assert [row["simulated"] for row in replayed] == [row["simulated"] for row in live]
    assert "replayed" in [row["how"] for row in replayed]
    assert {row["how"] for row in live} == {"live"}


def test_shared_uplinks_are_named_where_form_and_simulation_part(tmp_path):
    network = tmp_path / "racks.toml"
    network.write_text(
        '[link]\nlatency = "10 us"\nbandwidth = "10 Gbit/s"\n'
        '[topology]\nkind = "racks"\nhosts_per_rack = 4\noversubscription = 4\n'
    )
    done, _ = run(tmp_path / "run", "--net", str(network), "--nodes", "4,16", "--bytes", "64K")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "closed form and simulation part from p = 16" in said
    assert "hosts share links" in said
    assert "not simulated" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bytes", "8G", "--nodes", "4"], "scatter-gather on 4 nodes was left out: its ranks need"),
        (["--nodes", "65537", "--budget", "1"], "all-reduce on 65537 nodes was left out: its replay would take about"),
    ],
)
def test_what_does_not_fit_is_left_out_and_named(tmp_path, arguments, words):
    done, result = run(tmp_path, "--net", "100gbe", "--live", "4", *arguments)
    assert done.exit_code == 0, done.output
    assert words in " ".join(result["warnings"])


def test_a_simulation_under_mpirun_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PMIX_RANK", "0")
    done, _ = run(tmp_path, "--net", "100gbe", "--nodes", "4")
    assert done.exit_code == 2
    assert "start it without mpirun" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nodes", "1,2"], "2 nodes or more"),
        (["--nodes", "4,2000000"], "at most 1048576, got 4 to 2000000"),
        (["--bytes", "12"], "8-byte elements"),
        (["--t-comp", "0"], "must be > 0 s, got --t-comp 0"),
    ],
)
def test_bad_values_are_refused(arguments, words):
    done = CliRunner().invoke(scale.main, ["--net", "100gbe", *arguments])
    assert done.exit_code == 2
    assert words in done.stderr
