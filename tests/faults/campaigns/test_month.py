"""The month of failures against the closed forms of renewal theory."""

import math

import pytest
from click.testing import CliRunner

from emulator import results
from emulator.errors import UsageError
from faults.__main__ import main
from faults.campaigns.month import MEASURED_S, Month, compare, costs_of

BUSY = Month(
    nodes=10, mtbf_s=10_000.0, spares=0, length_s=1e6, step_s=50.0, checkpoint_s=20.0, recovery_s=100.0, draws=40
)
RATE = BUSY.nodes / BUSY.mtbf_s


def test_restart_keeps_what_renewal_theory_says_at_every_interval():
    """A cycle of work and checkpoint takes (e^(rate cycle) - 1) e^(rate recovery) / rate seconds (Daly 2006)."""
    (found,) = compare(BUSY, ["restart"])
    for tried in found["intervals"]:
        cycle = (math.exp(RATE * (tried["every"] + 20.0)) - 1) * math.exp(RATE * 100.0) / RATE
        assert tried["goodput"] == pytest.approx(tried["every"] / cycle, rel=0.02)
    assert found["goodput"] == max(one["goodput"] for one in found["intervals"])
    assert found["young"] == pytest.approx(math.sqrt(2 * 20.0 / RATE))


def test_respawn_loses_a_step_and_a_recovery_for_each_failure():
    """Of a gap between failures whole steps are kept: s / (e^(rate s) - 1) on average."""
    (found,) = compare(BUSY, ["respawn"])
    expected = RATE * 50.0 / (math.exp(RATE * 50.0) - 1) / math.exp(RATE * 100.0)
    assert found["goodput"] == pytest.approx(expected, rel=0.01)
    assert found["nodes_left"] == 10


def test_without_failures_all_work_is_kept_but_for_nodes_that_wait():
    calm = Month(nodes=8, mtbf_s=1e15, spares=2, draws=3)
    found = {row["policy"]: row for row in compare(calm, ["shrink", "spare", "respawn"])}
    assert found["shrink"]["goodput"] == pytest.approx(1)
    assert found["spare"]["goodput"] == pytest.approx(0.8)
    assert found["respawn"]["failures"] == 0


def test_shrink_loses_the_nodes_that_failed():
    """With nothing else lost n(t) falls as n e^(-t / MTBF): its mean is the goodput."""
    month = Month(nodes=1000, mtbf_s=1e6, length_s=5e5, step_s=1e-3, recovery_s=1e-6, draws=30)
    (found,) = compare(month, ["shrink"])
    assert found["goodput"] == pytest.approx((1 - math.exp(-0.5)) / 0.5, rel=0.01)
    assert found["nodes_left"] == pytest.approx(1000 * math.exp(-0.5), rel=0.01)


def test_it_repeats_itself_and_other_seeds_differ():
    first, again = (compare(BUSY, ["respawn"])[0]["goodput"] for _ in range(2))
    assert first == again
    assert first != compare(Month(**{**BUSY.__dict__, "seed": 1}), ["respawn"])[0]["goodput"]


def test_too_many_failures_are_refused():
    with pytest.raises(UsageError, match="longer --mtbf"):
        compare(Month(mtbf_s=1.0), ["shrink"])


def test_the_command_prints_what_recoveries_were_taken_to_cost(tmp_path):
    arguments = ["month", "--nodes", "64", "--mtbf", "1 year", "--draws", "5", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    for policy in MEASURED_S:
        assert policy in done.output
    said = " ".join(done.output.split())
    assert "76.0 ms" in said
    assert "docs/faults.md" in said
    assert "by Young" in said
    assert results.load(tmp_path)["clock"] == "simulated"


def test_a_dry_run_says_what_is_drawn_and_what_a_recovery_takes(tmp_path):
    arguments = ["--nodes", "100", "--mtbf", "10 d", "--length", "5 d", "--recovery", "shrink,restart", "--dry-run"]
    done = CliRunner().invoke(main, ["month", *arguments, "--out", str(tmp_path / "none")])
    assert done.exit_code == 0
    assert "100 nodes, each with an MTBF of 240 h: 50 failures in 120 h" in done.stdout
    assert [line.partition(":")[0] for line in done.stdout.splitlines()[1:]] == ["shrink", "restart"]
    assert not (tmp_path / "none").exists()


def test_recoveries_take_what_a_run_has_measured(tmp_path):
    run = [
        "drill",
        "ring",
        "--simulate",
        "4",
        "--fault",
        "kill 2 @ step 20",
        "--out",
        str(tmp_path / "drill"),
        "--quiet",
    ]
    assert CliRunner().invoke(main, run).exit_code == 0
    measured = results.load(tmp_path / "drill")["drill"]["recovery_seconds"]
    assert costs_of(tmp_path / "drill") == {"shrink": measured}
    arguments = ["month", "--draws", "2", "--costs", str(tmp_path / "drill"), "--out", str(tmp_path / "month")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    rows = {row["policy"]: row for row in results.load(tmp_path / "month")["month"]["rows"]}
    assert rows["shrink"]["recovery_s"] == measured
    assert rows["shrink"]["source"] == str(tmp_path / "drill")
    assert rows["spare"]["recovery_s"] == MEASURED_S["spare"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recovery", "continue"], "restart, got continue: choose from these"),
        (["--mtbf", "1 ms"], "longer --mtbf"),
        (["--nodes", "0"], "--nodes"),
        (["--costs", "nowhere"], "cannot read nowhere"),
        (["--costs", "nowhere", "--recovery-time", "1 s"], "leave one out"),
    ],
)
def test_bad_input_is_one_line(arguments, words, tmp_path):
    done = CliRunner().invoke(main, ["month", *arguments, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
