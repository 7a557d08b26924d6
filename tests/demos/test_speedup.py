"""The calculator: the published example to the digit, measured terms with intervals, one line for bad input."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from demos.speedup import main
from emulator import costs, network, results, speedup
from emulator.commands.report import report
from emulator.measure.fit import fit
from emulator.measure.model import Point
from tests.processes import running

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent.parent / "data" / "speedup_golden.csv"
ALPHA, BETA = 2e-5, 1e-9


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def table(output):
    """The numbers of the printed table, as printed."""
    lines = output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == ["p"])
    return [line.split() for line in lines[start + 1 : lines.index("", start)]]


@pytest.fixture
def measured(tmp_path):
    """A result with fitted terms of two patterns, known to about 5 %."""
    rng = np.random.default_rng(0)
    result = results.new("ring", ["python", "-m", "demos.ring"], ranks=8)
    for name in ("ring", "tree"):
        points = []
        for p in (2, 4, 8):
            for n in (8, 4096, 1 << 20):
                times = costs.seconds(name, p, n, ALPHA, BETA) * np.exp(0.2 * rng.standard_normal(20))
                points.append(Point(n, costs.terms(name, p), times, ranks=p))
                result["measurements"].append(
                    {"pattern": name, "ranks": p, "bytes": n, "seconds": {"median": float(np.median(times))}}
                )
        result["fits"].append(fit(points, gamma=0.0).record("collective", name))
    results.save(result, tmp_path / "result.json")
    return tmp_path


def test_without_options_it_prints_the_published_table():
    outcome = run()
    assert outcome.exit_code == 0
    with GOLDEN.open() as file:
        assert table(outcome.output) == list(csv.reader(file))[1:]
    assert "p* = 34, S(p*) = 7.49, efficiency 22.0 %, R(p*) = 3.54" in outcome.output
    assert "communication dominates from p = 13, where S = 6.24" in outcome.output
    assert outcome.output.startswith("textbook: alpha (p-1)")


def test_the_standard_form_is_labelled_and_counts_both_passes():
    outcome = run("--form", "ring", "--nodes", "2")
    assert outcome.output.startswith("ring: 2 alpha (p-1)")
    assert table(outcome.output) == [["2", "0.5000", "0.0416", "0.5416", "1.85", "0.083"]]


def test_checkpoints_are_answered_by_young_and_daly():
    outcome = run("--checkpoint", "30 s", "--mtbf", "5 years", "--restart", "2 min", "--nodes", "64,4096")
    lines = outcome.output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("checkpoints"))
    assert [line.split() for line in lines[start + 2 :]] == [
        # Young: sqrt(2 x 30 s x 5 years / 64) = 12,161 s
        ["64", "28.5", "d", "3.38", "h", "3.37", "h", "0.5", "%"],
        ["4096", "10.7", "h", "25.3", "min", "25.0", "min", "4.3", "%"],
    ]


@pytest.mark.parametrize("given", [("--checkpoint", "30 s"), ("--mtbf", "1 d"), ("--restart", "1 s")])
def test_a_checkpoint_needs_a_cost_and_an_mtbf(given):
    refused = run(*given)
    assert refused.exit_code == 2
    assert "--checkpoint and --mtbf go together" in refused.output


def test_other_terms_change_it():
    outcome = run("--t-comp", "10 s", "--alpha", "1 us", "--beta", "0", "--nodes", "1,2")
    assert table(outcome.output)[1][:2] == ["2", "5.0000"]
    assert "p* = 3162" in outcome.output  # sqrt(10 s / 1 us)


def test_sensitivity_shows_nine_optima():
    lines = run("--sensitivity").output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("sensitivity"))
    rows = [line.split() for line in lines[start + 2 :]]
    assert len(rows) == 9
    assert [row[2] for row in rows if row[:2] == ["1", "1"]] == ["34"]


def test_measured_terms_give_an_optimum_with_an_interval(measured):
    outcome = run("--from", measured, "--pattern", "ring", "--bytes", "1M", "--t-comp", "100 ms")
    assert outcome.exit_code == 0
    truth = speedup.measured(0.1, "ring", 1 << 20, ALPHA, BETA).best().p
    low, high = map(int, outcome.output.partition("p* = ")[2].partition("[")[2].partition("]")[0].split(","))
    assert low <= truth <= high
    assert high - low < truth
    assert outcome.output.startswith("measured: ")


def test_the_default_size_is_the_largest_measured(measured):
    said = run("--from", measured / "result.json", "--pattern", "tree").output
    assert "tree of 1M" in said


def test_the_numbers_can_be_had_as_json(tmp_path):
    path = tmp_path / "speedup.json"
    assert run("--json", path).exit_code == 0
    content = results.load(path)["speedup"]
    assert content["best"]["p"] == 34
    assert content["dominated"]["p"] == 13
    assert [row["p"] for row in content["rows"]] == list(speedup.ROWS)
    assert (content["alpha"], content["beta"], content["t_comp"]) == (0.8e-3, 0.04, 1.0)


def test_a_saved_table_says_how_to_make_it_again(measured, tmp_path):
    path, again = tmp_path / "speedup.json", tmp_path / "again.json"
    arguments = ["--from", measured, "--pattern", "ring", "--bytes", "64K", "--sensitivity", "--json", path]
    ask = [sys.executable, "-m", "demos.speedup", *map(str, arguments)]
    assert subprocess.run(ask, cwd=ROOT, check=True, capture_output=True).returncode == 0
    saved = results.load(path)
    assert saved["command"] == ["python", *ask[1:]]
    content = saved["speedup"]
    assert (content["pattern"], content["bytes"], content["source"]) == ("ring", 1 << 16, str(measured))
    assert len(content["sensitivity"]) == 9
    repeated = [sys.executable, *saved["command"][1:-1], str(again)]
    subprocess.run(repeated, cwd=ROOT, check=True, capture_output=True)
    assert results.load(again)["speedup"] == content


def test_a_reader_that_leaves_costs_neither_the_file_nor_the_status(tmp_path):
    nodes = ",".join(map(str, range(1, 600)))
    command = [sys.executable, "-m", "demos.speedup", "--nodes", nodes, "--json", str(tmp_path / "it.json")]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pipesize": 4096}  # less than the table has
    with running(command, cwd=ROOT, bufsize=0, **pipe) as process:
        assert process.stdout.readline().startswith(b"textbook")
        assert process.poll() is None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
    assert len(results.load(tmp_path / "it.json")["speedup"]["rows"]) == 599


def test_under_mpirun_there_is_one_table(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    assert run().output == ""
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    assert "p* = 34" in run().output


def test_what_was_not_measured_is_said(measured):
    ask = ["--from", measured, "--pattern", "ring", "--t-comp", "1 us"]
    far = run(*ask, "--bytes", "1G", "--nodes", "2,4").output
    assert "warning: 1G lies outside of the sizes that were measured, 8 to 1M" in far
    assert "extrapolated" not in far  # p* = 1
    wide = run(*ask, "--bytes", "4K", "--nodes", "2,1024").output
    assert "outside" not in wide
    assert "warning: measured on at most 8 ranks: what is said of p > 8 is extrapolated" in wide


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"draws": [[1, 2]]}, "fits.0.draws.0.2: field required"),
        ({"draws": [[1, 2, -3]]}, "fits.0.draws.0.2"),
        ({"alpha": {"value": 1e300}}, "fits.0.alpha.value"),
    ],
)
def test_terms_that_are_none_are_refused(measured, change, said):
    content = json.loads((measured / "result.json").read_text())
    content["fits"][0] |= change
    (measured / "result.json").write_text(json.dumps(content))
    outcome = run("--from", measured, "--pattern", "ring")
    assert outcome.exit_code == 2
    assert said in outcome.stderr
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "{}/missing.json"], "cannot read"),
        (["--from", "{}/foreign.json"], "not a result file"),
        (["--from", "{}"], "name one of them"),
        (["--from", "{}", "--pattern", "gossip"], "fits of ring, tree"),
        (["--from", "{}", "--alpha", "1 us"], "--alpha goes without --from"),
        (["--pattern", "ring"], "--pattern goes with --from"),
        (["--fit", "{}", "--alpha", "1 us"], "--alpha goes without --fit"),
        (["--fit", "{}", "--from", "{}"], "got --from and --fit: leave out one"),
        (["--fit", "{}/foreign.json"], "no known format: it must be the text output of nccl-tests"),
        (["--bytes", "8"], "--bytes goes with --from"),
        (["--net", "25gbe"], "--net needs the bytes of a step, got no --bytes"),
        (["--net", "nowhere", "--bytes", "8"], "nowhere"),
        (["--net", "25gbe", "--bytes", "8", "--pattern", "star"], "got 'star'"),
        (["--net", "25gbe", "--bytes", "8", "--beta", "1 us"], "--beta goes without --net"),
        (["--net", "25gbe", "--fit", "{}"], "got --fit and --net: leave out one"),
        (["--t-comp", "0"], "must be > 0 s"),
        (["--t-comp", "soon"], "a time is a number"),
        (["--nodes", "0"], "at least 1"),
        (["--checkpoint", "1 s", "--mtbf", "0 s"], "the MTBF must be > 0 s, got 1 s and 0 s"),
        (["--checkpoint", "0 s", "--mtbf", "1 h"], "the MTBF must be > 0 s, got 0 s and 3600 s"),
        (["--json", "{}/no/such/folder"], "cannot write"),
        (["--nonsense"], "No such option"),
    ],
)
def test_bad_input_is_one_line_and_status_2(measured, arguments, said):
    (measured / "foreign.json").write_text(json.dumps({"schema": 3}))
    outcome = run(*(argument.format(measured) for argument in arguments))
    assert outcome.exit_code == 2
    error = outcome.stderr.strip()
    assert said in error
    assert error.count("\n") == 0


def test_a_result_without_collectives_is_refused(tmp_path):
    results.save(results.new("links", ["x"]), tmp_path / "result.json")
    outcome = run("--from", tmp_path)
    assert outcome.exit_code == 2
    assert "none: take one of demos.ring" in outcome.stderr


@pytest.mark.parametrize(("net", "alpha", "beta"), [("tests/data/one_link.toml", 50e-6, 0.8e-9), ("shm", None, None)])
@pytest.mark.parametrize("pattern", [None, "recursive_doubling", "parameter_server"])
def test_a_network_answers_directly(tmp_path, net, alpha, beta, pattern):
    options = [] if pattern is None else ["--pattern", pattern]
    done = run("--net", net, "--bytes", "350MB", "--t-comp", "30 s", *options, "--json", tmp_path / "result.json")
    assert done.exit_code == 0, done.output
    one = results.load(tmp_path)["speedup"]
    if alpha is None:
        path = network.load(net).sized(2).between(0, 1)
        alpha, beta = path.alpha, path.beta
    truth = speedup.measured(30, pattern or "ring", 350_000_000, alpha, beta)
    assert one["best"]["p"] == truth.best().p
    assert one["knee"]["p"] == truth.knee().p
    assert [row["step"] for row in one["rows"]] == pytest.approx([row.step for row in truth.table()])
    assert ("nodes to ask for (5 % off)" in done.output) == (truth.best().p < speedup.MOST_NODES)
    assert "measured" not in done.output


def test_a_network_file_is_known_by_its_path(tmp_path):
    file = tmp_path / "measured.net"
    file.write_text('[link]\nlatency = "50 us"\nbandwidth = "10 Gbit/s"\n')
    done = run("--net", file, "--bytes", "1MB")
    assert (done.exit_code, "alpha 50.0 us" in done.output) == (0, True), done.output


def test_what_nodes_of_a_network_share_is_said(tmp_path):
    done = run("--net", "examples/networks/racks.toml", "--bytes", "1MB")
    assert (done.exit_code, "uplink" in done.output) == (0, True), done.output


@pytest.mark.parametrize(
    ("pattern", "more", "said"),
    [
        ("parameter_server", "", ""),
        ("tree", "", 'the price of tree is that of messages served whole: sharing = "packet" has none'),
        ("parameter_server", "[slow_start]\n", "segments of the link have no price here"),
    ],
)
def test_what_a_network_has_that_no_price_knows_is_said(tmp_path, pattern, more, said):
    (tmp_path / "net.toml").write_text(
        'sharing = "packet"\n[link]\nlatency = "50 us"\nbandwidth = "10 Gbit/s"\n' + more
    )
    options = ["--bytes", "350MB", "--t-comp", "30 s", "--pattern", pattern, "--json", tmp_path / "result.json"]
    done = run("--net", tmp_path / "net.toml", *options)
    assert done.exit_code == 0, done.output
    assert said in " ".join(done.output.split())
    assert ("warning" in done.output) == bool(said)
    options = {"sharing": "packet"} if pattern == "parameter_server" else {}
    truth = speedup.measured(30, pattern, 350_000_000, 50e-6, 0.8e-9, **options)
    assert results.load(tmp_path)["speedup"]["best"]["p"] == truth.best().p


def test_a_fit_without_latency_gives_no_p_star(tmp_path):
    result = results.new("ring", ["x"])
    seconds, nothing = {"median": 1.0}, {"value": 0.0}
    result["measurements"] = [{"pattern": "ring", "ranks": 2, "bytes": 8, "seconds": seconds}]
    result["fits"] = [{"level": "collective", "pattern": "ring", "alpha": nothing, "beta": {"value": 1e-9}}]
    results.save(result, tmp_path / "result.json")
    done = run("--from", tmp_path)
    assert done.exit_code == 2
    assert "the fit of ring to 8 gives alpha 0" in done.stderr


def test_two_timings_of_the_section_give_its_p_star(tmp_path):
    """The all-reduce of 100 MB at 2 and at 16 nodes, as the section's own terms have it."""
    path = tmp_path / "timings.txt"
    path.write_text("p = 2: 100 MB in 40.8 ms\np = 16: 100 MB in 87 ms\n")
    said = run("--fit", path).output
    assert "p* = 34, S(p*) = 7.49, efficiency 22.0 %, R(p*) = 3.54" in said
    assert f"two-pointtimingin{path}" in "".join(said.split())  # wherever the line was broken
    assert "measured on at most 16 ranks" in said


@pytest.mark.parametrize("options", [(), ("--t-comp", "50 ms", "--sensitivity"), ("--nodes", "1,2,5000")])
def test_the_report_of_the_file_is_what_was_printed(tmp_path, options):
    live = run(*options, "--json", tmp_path / "result.json")
    again = CliRunner().invoke(report, [str(tmp_path)])
    assert (live.exit_code, again.exit_code) == (0, 0), live.output + again.output
    assert live.stdout == again.stdout
    assert "p* = " in live.stdout
