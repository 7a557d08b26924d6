"""Configured beside recovered: PASS within 1 %, and no verdict where there can be none."""

import pytest

from emulator.measure import closed_loop
from emulator.network.jitter import Uniform
from tests.emulator.measure.test_terms import fit_run, run_of
from tests.emulator.small_networks import ALPHA, BETA, plain


@pytest.mark.parametrize(
    ("alpha", "beta", "passed"),
    [
        (ALPHA, BETA, [True, True]),
        (ALPHA * 1.009, BETA * 0.991, [True, True]),
        (ALPHA * 1.011, BETA, [False, True]),
        (ALPHA, BETA * 0.98, [True, False]),
    ],
)
def test_a_term_passes_within_one_percent(alpha, beta, passed):
    checks = closed_loop.compare("link", plain().between(0, 1), alpha, beta)
    assert [check["passed"] for check in checks] == passed
    assert [check["configured"] for check in checks] == pytest.approx([50, 0.8])
    assert [check["unit"] for check in checks] == ["us", "ns/B"]


def test_what_was_measured_elsewhere_fails_and_names_every_pattern():
    found = fit_run(run_of(["ring"]), ["ring"], itemsize=4)
    checks, unchecked = closed_loop.closed_loop(found, plain(8), [2, 4, 8], "none")
    assert unchecked == []
    assert [check["what"] for check in checks] == ["link 0 -> 1"] * 2 + ["ring"] * 2
    assert not any(check["passed"] for check in checks)


def test_a_host_with_several_ranks_has_no_one_alpha_to_hold_a_ring_to():
    found = fit_run(run_of(["ring"]), ["ring"], itemsize=4)
    checks, unchecked = closed_loop.closed_loop(found, plain(8, per_host=2), [2, 4, 8], "none")
    assert "paths differ" in unchecked[0]
    assert {check["what"] for check in checks} == {"link 0 -> 1"}
    assert checks[0]["configured"] == pytest.approx(0.5)  # the loopback


def test_measured_compute_and_jitter_are_not_held_to_anything():
    found = fit_run(run_of(["ring"]), ["ring"], itemsize=4)
    checks, unchecked = closed_loop.closed_loop(found, plain(8), [2, 4, 8], "measured")
    assert checks == []
    assert "CPU time" in unchecked[0]
    shaky = plain(8, jitter=Uniform(0.0, 1e-6))
    checks, unchecked = closed_loop.closed_loop(found, shaky, [2, 4, 8], "none")
    assert checks == []
    assert "jitter" in unchecked[0]
    assert closed_loop.compare_link(shaky, 0, 1, found.link.headline) == []


def test_what_is_configured_goes_into_the_record():
    assert closed_loop.configured_terms(None) is None
    assert closed_loop.configured_terms(plain(4)) == {"alpha": ALPHA, "beta": BETA}


def test_a_formula_that_is_only_a_bound_is_not_held_to_the_digit():
    found = fit_run(run_of(["ring", "tree"], ranks=(2, 3)), ["ring", "tree"], itemsize=4)
    checks, unchecked = closed_loop.closed_loop(found, plain(3), [2, 3], "none")
    assert {check["what"] for check in checks} == {"link 0 -> 1", "ring"}
    assert unchecked == ["tree on [3] ranks: messages queue there, which no alpha and beta describe"]
