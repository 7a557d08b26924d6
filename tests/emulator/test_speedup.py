"""The speedup model against the published table and against brute force."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import costs, speedup
from emulator.errors import UsageError

GOLDEN = Path(__file__).parent.parent / "data" / "speedup_golden.csv"
TIMES = st.floats(1e-9, 1.0)


def test_the_published_table_to_the_digit():
    model = speedup.textbook(1.0, 0.0008, 0.040)
    with GOLDEN.open() as file:
        rows = list(csv.reader(file))[1:]
    assert [
        [str(r.p), f"{r.compute:.4f}", f"{r.communication:.4f}", f"{r.step:.4f}", f"{r.speedup:.2f}", f"{r.ratio:.3f}"]
        for r in model.table()
    ] == rows


def test_the_published_optimum_and_where_communication_dominates():
    model = speedup.textbook(1.0, 0.0008, 0.040)
    best = model.best()
    assert best.p == 34
    assert f"{best.speedup:.2f} {best.efficiency:.1%} {best.ratio:.2f}" == "7.49 22.0% 3.54"
    dominated = model.dominated()
    assert dominated is not None
    assert f"{dominated.p} {dominated.speedup:.2f}" == "13 6.24"


@given(TIMES, TIMES, st.floats(0.01, 100))
def test_the_best_is_the_minimum_and_the_first_dominated_is_the_first(alpha, beta, t_comp):
    for form in (speedup.textbook, speedup.ring):
        model = form(t_comp, alpha, beta)
        rows = [model.row(p) for p in range(1, 200)]
        assert model.best(199).step == min(row.step for row in rows)
        over = [row.p for row in rows[1:] if row.communication >= row.compute]
        dominated = model.dominated(199)
        assert (dominated.p if dominated else None) == (over[0] if over else None)


@given(TIMES, TIMES, st.floats(0.01, 100))
def test_the_nodes_to_ask_for_and_the_loss_of_efficiency_are_those_of_a_search(alpha, beta, t_comp):
    model = speedup.textbook(t_comp, alpha, beta)
    rows = [model.row(p) for p in range(1, 200)]
    shortest = min(row.step for row in rows)
    assert model.knee(199).p == next(row.p for row in rows if row.step <= 1.05 * shortest)
    below = [row.p for row in rows[1:] if row.efficiency < 0.5]
    efficient = model.efficient(199)
    assert (efficient.p + 1 if efficient else None) == (below[0] if below else None)


def test_a_large_model_on_a_fast_network_asks_for_far_fewer_nodes_than_the_optimum():
    model = speedup.measured(1.0, "ring", 350e6, 10e-6, 8 / 25e9)
    efficient = model.efficient()
    assert efficient is not None
    assert efficient.efficiency >= 0.5
    assert model.best().p > 4 * model.knee().p > 16 * efficient.p


@given(TIMES, TIMES, st.integers(2, 500))
def test_the_two_forms_differ_by_one_pass_of_latencies(alpha, beta, p):
    textbook, ring = speedup.textbook(1.0, alpha, beta), speedup.ring(1.0, alpha, beta)
    assert textbook.form != ring.form
    assert ring.row(p).communication == pytest.approx(textbook.row(p).communication + alpha * (p - 1))


@given(TIMES, st.floats(1e-12, 1e-8), st.integers(1, 1 << 26), st.integers(2, 300))
def test_measured_terms_of_a_ring_are_the_ring_form(alpha, beta, n, p):
    mine = speedup.measured(1.0, "ring", n, alpha, beta).row(p).communication
    assert mine == pytest.approx(speedup.ring(1.0, alpha, n * beta).row(p).communication)


def test_without_communication_more_nodes_always_help():
    model = speedup.textbook(1.0, 0.0, 0.0)
    assert model.best(64).p == 64
    assert model.dominated() is None
    assert model.row(8).speedup == pytest.approx(8)


def test_the_interval_of_the_optimum_follows_the_draws():
    n, beta = 1e6, 1e-9
    same = np.tile([1e-5, beta, 0.0], (50, 1))
    best = speedup.measured(1.0, "ring", n, 1e-5, beta).best().p
    assert speedup.best_interval(1.0, "ring", n, same) == (best, best)
    spread = np.column_stack([np.linspace(0.5e-5, 2e-5, 101), np.full(101, beta), np.zeros(101)])
    low, high = speedup.best_interval(1.0, "ring", n, spread)
    assert low < best < high
    assert low == pytest.approx(best / 2**0.5, rel=0.05)


def test_ten_times_the_latency_moves_the_optimum_by_the_root_of_ten():
    found = speedup.sensitivity(lambda a, b: speedup.textbook(1.0, a, b), 0.0008, 0.040)
    moves = {(v.alpha_factor, v.beta_factor): v.best.p for v in found}
    assert len(moves) == 9
    assert moves[1, 1] == 34
    assert moves[0.1, 1] == pytest.approx(34 * 10**0.5, rel=0.1)
    assert moves[10, 1] == pytest.approx(34 / 10**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: speedup.textbook(0, 1e-3, 1e-2), "compute time"),
        (lambda: speedup.textbook(float("nan"), 1e-3, 1e-2), "compute time"),
        (lambda: speedup.ring(1, -1e-3, 1e-2), "alpha must be"),
        (lambda: speedup.measured(1, "rign", 8, 1e-3, 1e-2), "pattern"),
        (lambda: speedup.textbook(1, 1e-3, 1e-2).row(0), "number of nodes"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said):
    with pytest.raises(UsageError, match=said):
        call()


def test_every_pattern_with_terms_can_be_used():
    for name in costs.COLLECTIVES:
        assert speedup.measured(1.0, name, 1e6, 1e-5, 1e-9, 1e-10).best(64).p >= 1
