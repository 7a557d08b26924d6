"""Two sets of timings: false differences are rare, true ones are found, and what is equal to the bit is the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure.two_samples import Timings, compare, holm


def side(*launches: object) -> Timings:
    seconds = [list(np.asarray(one, dtype=float)) for one in launches]
    return Timings(seconds, float(np.median([np.median(one) for one in seconds])))


def test_holms_correction_is_that_of_his_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1))
def test_corrected_p_values_are_no_smaller_and_keep_their_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.asarray(corrected)[order]) >= 0).all()


@pytest.mark.parametrize("launches", [1, 3])
def test_no_more_than_5_percent_of_the_comparisons_of_equal_sides_find_a_difference(launches: int) -> None:
    rng = np.random.default_rng(7)

    def measured() -> Timings:
        # Launches differ by 10 %, repetitions within one by 5 %; a single launch has no factor of its own here.
        factors = rng.lognormal(sigma=0.1 * (launches > 1), size=launches)
        return side(*(factor * rng.lognormal(sigma=0.05, size=20) for factor in factors))

    alarms = 0
    for _ in range(100):
        found = compare({name: (measured(), measured()) for name in range(10)}, margin=0.0)
        alarms += any(one.outcome != "same" for one in found.values())
    assert alarms <= 12  # binomial(100, 5 %) is above 12 with probability 0.15 %


@pytest.mark.parametrize("launches", [(1, 1), (3, 3), (5, 1)])
def test_a_difference_of_half_is_found_among_twenty_measurements(launches: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    a, b = (side(*rng.lognormal(sigma=0.02, size=(number, 30))) for number in launches)
    slow = side(*(1.5 * np.asarray(b.launches)))
    found = compare({**{f"same {i}": (a, a) for i in range(19)}, "slow": (a, slow), "quick": (slow, b)}, margin=0.1)
    assert found["slow"].outcome == "slower"
    assert found["slow"].ratio == pytest.approx(1.5, rel=0.05)
    assert all(one.outcome == "same" for name, one in found.items() if name.startswith("same"))


def test_launches_that_differ_hide_a_difference_that_their_repetitions_would_claim() -> None:
    rng = np.random.default_rng(5)
    a, b = (side(*(factor * rng.lognormal(sigma=0.01, size=100) for factor in factors)) for factors in
            ((1.0, 1.4, 0.8), (1.1, 1.5, 0.9)))  # fmt: skip
    assert compare({"launches": (a, b)}, 0.0)["launches"].outcome == "same"
    one = compare({"one": (side(a.launches[0]), side(b.launches[0]))}, 0.0)["one"]
    assert (one.outcome, one.test) == ("slower", "repetitions")


def test_a_difference_within_the_margin_is_none() -> None:
    rng = np.random.default_rng(2)
    a, b = side(rng.lognormal(sigma=0.01, size=50)), side(1.2 * rng.lognormal(sigma=0.01, size=50))
    assert compare({"x": (a, b)}, 0.1)["x"].outcome == "slower"
    assert compare({"x": (a, b)}, 0.3)["x"].outcome == "same"
    assert compare({"x": (b, a)}, 0.1)["x"].outcome == "faster"


def test_exact_times_differ_by_any_amount_and_equal_ones_do_not() -> None:
    a, b = side([1e-3] * 2), side([1.0001e-3] * 2)
    found = compare({"same": (a, a), "slower": (a, b), "faster": (b, a)}, 0.0)
    assert {name: one.outcome for name, one in found.items()} == {
        "same": "same",
        "slower": "slower",
        "faster": "faster",
    }
    assert found["slower"].test == "exact"


def test_medians_with_intervals_are_compared_and_those_without_are_not() -> None:
    a, far, near = Timings((), 1.0, (0.9, 1.1)), Timings((), 2.0, (1.8, 2.2)), Timings((), 1.1, (1.0, 1.2))
    found = compare({"far": (a, far), "near": (a, near), "none": (a, Timings((), 2.0))}, 0.0)
    assert {name: one.outcome for name, one in found.items()} == {"far": "slower", "near": "same", "none": "unknown"}
