"""Random programs: ranks see the same, to the bit, in the simulator and in a second one; hosts share cards."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from emulator import sim
from emulator.carrier import Instrument
from emulator.sim.failures import Failures
from tests.emulator.sim import random_programs, reference


@pytest.mark.parametrize("per_host", [1, 2, 3])
def test_random_programs_see_what_the_reference_says(per_host: int) -> None:
    for seed in range(150):
        seen, expected = reference.both(seed, per_host)
        assert seen == expected, f"seed {seed}"


def test_observed_messages_take_the_same_time_as_plain_ones() -> None:
    """An instrument that hears of sent messages turns off the short way of plain ones, with and without failures."""
    for seed in range(12):
        ranks = 2 + seed % 5
        plain = sim.run(partial(random_programs.program, seed=seed), ranks, "10gbe")
        for failures in (None, Failures()):
            observed = sim.run(partial(_observed, seed=seed), ranks, "10gbe", failures=failures)
            assert observed == plain, f"seed {seed}"
        assert sim.run(partial(random_programs.program, seed=seed), ranks, "10gbe", failures=Failures()) == plain


class _Ears(Instrument):
    def sent(self, *event: Any) -> None:
        """Turn off the short way."""


def _observed(comm: Any, seed: int) -> Any:
    comm.carrier.instruments.append(_Ears())
    return random_programs.program(comm, seed)
