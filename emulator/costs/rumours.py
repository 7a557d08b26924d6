"""Gossip: how many rounds a rumour needs."""

import math

from emulator.costs.model import ceil_lg, floor_lg
from emulator.errors import UsageError


def rumour_rounds(p: int) -> tuple[float, float]:
    """Bounds on the expected rounds of a push rumour among p ranks; each round costs alpha + n beta.

    ``floor(lg p) + ln p - 1.116 <= E <= ceil(lg p) + ln p + 2.765``
    (Doerr and Kuennemann, "Tight analysis of randomized rumor spreading in complete graphs", ANALCO 2014; the upper
    bound up to o(1)).
    """
    if p < 1:
        raise UsageError(f"a rumour spreads among p >= 1 ranks, got {p}")
    return max(0.0, floor_lg(p) + math.log(p) - 1.116), ceil_lg(p) + math.log(p) + 2.765
