"""Demos on simulated ranks: exact times, no mpirun, and one line for what cannot be simulated."""

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from demos import compare, gossip, incast, links, membership, parameter_server, ring, scatter_gather
from emulator import costs, results
from emulator.network import load

NET = ["--net", "100gbe", "--quiet"]


def invoke(demo, *arguments):
    return CliRunner().invoke(demo.main, [*arguments, *NET])


@pytest.mark.parametrize("more", [[], ["--every-rank"]])
def test_a_ring_takes_its_closed_form_and_is_measured_once(tmp_path, more):
    done = invoke(ring, "--simulate", "32", "--sizes", "1K,64K", "--ranks", "4,32", "--out", str(tmp_path), *more)
    assert done.exit_code == 0, done.output
    found = results.load(tmp_path)
    assert found["clock"] == "simulated"
    assert found["pace"] is None
    assert found["environment"]["ranks"] == 32
    for row in found["measurements"]:
        median = row["seconds"]["median"]
        assert row["seconds"]["ci95"] == [median, median]
        assert row["seconds"]["n"] == 1
        assert row["seconds"]["stopped"] == "exact"
        replayed = row["pattern"] == "ring" and row["bytes"] > 1024 and not more
        assert row["wrong"] == (None if replayed else 0)
        assert row["predicted"] == pytest.approx(median, rel=1e-9)
    assert not any("repetitions" in text for text in found["warnings"])


def test_a_ring_of_many_ranks_is_replayed_at_every_default_size_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=1 << 40, available=2 << 30))
    done = invoke(ring, "--simulate", "100", "--ranks", "100", "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    rows = [row for row in results.load(tmp_path)["measurements"] if row["pattern"] == "ring"]
    assert [row["bytes"] for row in rows] == [8 << power for power in range(21)]
    alpha, beta = (load("100gbe").between(0, 1).alpha, load("100gbe").between(0, 1).beta)
    for row in rows:
        assert row["wrong"] is None
        assert row["seconds"]["median"] == pytest.approx(costs.exact("ring", 100, row["bytes"] // 4, 4, alpha, beta))


def test_what_varies_is_repeated(tmp_path):
    network = tmp_path / "jitter.toml"
    network.write_text(
        '[link]\nlatency = "10 us"\nbandwidth = "10 Gbit/s"\n[jitter]\ndistribution = "exponential"\nmean = "5 us"\n'
    )
    arguments = ["--simulate", "3", "--sizes", "1K", "--net", str(network), "--quiet", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(incast.main, arguments)
    assert done.exit_code == 0, done.output
    for row in results.load(tmp_path / "run")["measurements"]:
        low, high = row["seconds"]["ci95"]
        assert low < high
        assert row["seconds"]["n"] >= 10


@pytest.mark.parametrize(
    ("demo", "ranks", "more"),
    [
        (compare, 5, ["--sizes", "64,4K"]),
        (gossip, 16, ["--sizes", "64", "--graphs", "ring,complete", "--rumours", "3"]),
        (parameter_server, 4, ["--sizes", "64,8K", "--steps", "20"]),
        (scatter_gather, 5, ["--sizes", "1K", "--documents", "300"]),
        (membership, 5, []),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_demos_run_and_repeat_themselves(demo, ranks, more, tmp_path):
    seen = []
    for name in ("first", "second"):
        done = invoke(demo, "--simulate", str(ranks), *more, "--out", str(tmp_path / name))
        assert done.exit_code == 0, done.output
        content = json.loads((tmp_path / name / "result.json").read_text())
        for field in ("started", "command", "environment"):
            del content[field]
        seen.append(content)
    assert seen[0] == seen[1]
    assert seen[0]["fidelity"]["inversions"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--simulate", "4"], "add --net"),
        (["--simulate", "4", "--net", "100gbe", "--pace", "1"], "--pace"),
        (["--simulate", "4", "--net", "100gbe", "-n", "4"], "-n"),
        (["--simulate", "4", "--net", "100gbe", "--launches", "2"], "--launches"),
        (["--simulate", "1", "--net", "100gbe"], "at least 2 ranks"),
        (["--simulate", "50000000", "--net", "100gbe"], "MiB are free"),
        (["--simulate", "0", "--net", "100gbe"], "--simulate"),
    ],
)
def test_what_cannot_be_simulated_is_one_line(arguments, words):
    done = CliRunner().invoke(ring.main, arguments)
    assert done.exit_code == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]


@pytest.mark.parametrize("demo", [compare, gossip, incast, links, ring, scatter_gather])
def test_sizes_beyond_the_memory_are_refused(demo, tmp_path):
    done = invoke(demo, "--simulate", "4", "--sizes", "8,1T", "--out", str(tmp_path))
    assert done.exit_code == 2, done.output
    assert "buffers each of the largest size" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_pattern_is_ahead_of_one_that_takes_no_time(tmp_path):
    done = invoke(compare, "--simulate", "4", "--sizes", "0", "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert [one["ahead"] for one in results.load(tmp_path)["winners"]] == [None]


def test_a_network_with_too_few_hosts_is_refused(tmp_path):
    network = tmp_path / "two.toml"
    network.write_text('[link]\nlatency = "10 us"\nbandwidth = "10 Gbit/s"\n[hosts]\nnames = ["a", "b"]\n')
    done = CliRunner().invoke(ring.main, ["--simulate", "4", "--net", str(network)])
    assert done.exit_code == 2
    assert "lists hosts for 2 ranks, got --simulate 4" in done.stderr


def test_a_flag_of_simulated_ranks_is_refused_before_mpirun_starts(monkeypatch):
    monkeypatch.setattr("emulator.run.options.several.start", lambda *_: pytest.fail("mpirun was started"))
    done = CliRunner().invoke(ring.main, ["-n", "4", "--every-rank"])
    assert done.exit_code == 2
    assert done.stderr == "error: --every-rank is for simulated ranks, got it without --simulate: leave it out\n"


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C after the third repetition."""
    from emulator.measure import simulated

    add, seen = simulated._add, []

    def interrupt(series, rows):
        add(series, rows)
        seen.append(series)
        if len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(simulated, "_add", interrupt)


def test_a_launch_that_is_interrupted_leaves_the_result_of_those_before_it(interrupted, tmp_path, monkeypatch):
    command = [incast, "--simulate", "4", "--sizes", "8,1K", "--out", str(tmp_path)]
    before = results.save(results.new("incast", ["x"], ranks=4) | {"launches": 1}, tmp_path / "result.json")
    content = before.read_bytes()
    monkeypatch.setenv("CLUSTER_EMULATOR_LAUNCH", json.dumps({"number": 2, "of": 2, "folder": str(tmp_path)}))
    assert invoke(*command).exit_code == 130
    assert before.read_bytes() == content


def test_a_run_that_is_interrupted_keeps_what_it_has(interrupted, tmp_path):
    done = invoke(incast, "--simulate", "4", "--sizes", "8,1K", "--out", str(tmp_path))
    assert done.exit_code == 130
    assert f"what was measured until then is in {tmp_path}" in done.stderr
    assert len(results.load(tmp_path)["measurements"]) == 3


def test_a_parameter_server_that_is_interrupted_keeps_the_sizes_it_has(tmp_path, monkeypatch):
    from demos._lib import push_pull

    measure = push_pull.measure

    def interrupt(control, comm, size, *more):
        if size > 64:
            raise KeyboardInterrupt
        return measure(control, comm, size, *more)

    monkeypatch.setattr(push_pull, "measure", interrupt)
    done = invoke(parameter_server, "--simulate", "4", "--ranks", "4", "--sizes", "64,8K", "--out", str(tmp_path))
    assert done.exit_code == 130
    assert [row["bytes"] for row in results.load(tmp_path)["measurements"]] == [64]
