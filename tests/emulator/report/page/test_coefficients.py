"""The pieces of S, V and R that a page evaluates are the formulas, at every p."""

import numpy as np
import pytest

from emulator import costs, speedup
from emulator.report.page import coefficients


@pytest.mark.parametrize("name", costs.COLLECTIVES)
def test_the_pieces_of_a_pattern_are_its_formula_at_every_p(name):
    pieces = coefficients.of_pattern(name, True)
    for field, found in zip(("steps", "volume", "reduced"), pieces, strict=True):
        nodes = np.arange(1, speedup.MOST_NODES + 1)
        first = np.array([piece[0] for piece in found])
        a, b, c = np.array([piece[1:] for piece in found])[np.searchsorted(first, nodes, side="right") - 1].T
        known = [getattr(costs.terms(name, int(p)), field) for p in nodes]
        assert a + b * nodes + c / nodes == pytest.approx(known, rel=1e-11, abs=1e-11)
