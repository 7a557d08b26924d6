"""Random programs: ranks see the same, to the bit, in the simulator and in a second one; hosts share cards."""

from __future__ import annotations

import pytest

from tests.emulator.sim import reference


@pytest.mark.parametrize("per_host", [1, 2, 3])
def test_random_programs_see_what_the_reference_says(per_host: int) -> None:
    for seed in range(150):
        seen, expected = reference.both(seed, per_host)
        assert seen == expected, f"seed {seed}"
