"""Random programs: ranks see the same, to the bit, in the simulator and in a second one; hosts share cards."""

from __future__ import annotations

from functools import partial

import pytest

from emulator import sim
from tests.emulator.sim import reference


@pytest.mark.parametrize("per_host", [1, 2, 3])
def test_random_programs_see_what_the_reference_says(per_host: int) -> None:
    for seed in range(150):
        ranks = 2 + seed % 5
        program = reference.draw(seed, ranks)
        found = sim.run(partial(reference.carry_out, program=program), ranks, reference.network(ranks, per_host))
        assert found.results == reference.Reference(program, per_host).run(), f"seed {seed}"
