"""Messages followed one by one, also where a rank is rounds ahead of another."""

from __future__ import annotations

import pytest

from emulator.costs import timeline
from emulator.costs.gossip import Sends

ALPHA, BETA, SIZE = 1.0, 0.01, 100  # a message takes 1 s to arrive and 1 s to be taken in


def test_a_rank_that_sits_out_a_round_runs_ahead() -> None:
    """Pairs (0, 1), then (1, 2): rank 2 has sent its part already, and rank 1 takes it in behind rank 0's.

    Rank 2's message and rank 0's both arrive at 1; rank 1 has taken them in at 2 and 3. It answers rank 2 when
    its own first round is over: not later than 3, so that rank 2 has it not later than 5.
    """
    rounds: list[Sends] = [[[(1, SIZE)], [(0, SIZE)], []], [[], [(2, SIZE)], [(1, SIZE)]]]
    assert timeline(rounds, ALPHA, BETA) == pytest.approx(4.0)


def test_who_is_ahead_delays_the_others() -> None:
    """Rank 2 sends rank 1 a long message of round 1 while rank 1 still waits for rank 0's of round 0."""
    first: Sends = [[(4, SIZE), (4, SIZE), (1, SIZE)], [], [], [], []]
    second: Sends = [[], [(0, 5 * SIZE)], [(1, 3 * SIZE)], [], []]
    # Rank 0's message to rank 1 leaves at 2 and arrives at 3; rank 2's has arrived at 1 and is taken in until 4. So
    # rank 1 has what it waits for at 5, and its answer is there 1 + 5 s later.
    assert timeline([first, second], ALPHA, BETA) == pytest.approx(11.0)


def test_nothing_to_do() -> None:
    assert timeline([], ALPHA, BETA) == 0.0
    assert timeline([[[], []]], ALPHA, BETA) == 0.0
