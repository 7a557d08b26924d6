"""Skeletons of the five patterns where ranks share cards, uplinks or pipes, simulated: the error of each prediction.

mpirun -n 1 python -m bench._design_shared FILE.json 4,8 BUDGET_S
"""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path
from typing import Any

from bench._common import write
from bench._design import SPREAD, exchanges
from demos._lib.design.skeleton import simulated
from emulator.design.prices.exchange import price
from emulator.design.prices.network_terms import ways_of
from emulator.network import load

NETWORKS = Path(__file__).parents[1] / "examples" / "networks"
NAMES = ("racks", "multicore", "regions")


def main(nodes: str, budget: str) -> list[dict[str, Any]]:
    """Simulate points until the budget is used up; run and price have the same computing times."""
    end, found = time.monotonic() + float(budget), []
    for spread, p, name in product((SPREAD, 0.0), map(int, nodes.split(",")), NAMES):
        network = load(str(NETWORKS / f"{name}.toml")).sized(p + 2)
        for pattern, one in exchanges(p, *network.slowest_path(range(p + 2))).items():
            if time.monotonic() > end:
                return found
            laid = network.sized(one.ranks)
            draws = one.draws(spread, one.count(0.0), 0)
            measured, inversions = simulated(laid, one, draws)
            error = price(one, draws, ways_of(laid)) / measured - 1
            found.append({"network": name, "p": p, "spread": spread, "pattern": pattern, "error": error,
                          "inversions": inversions})  # fmt: skip
    return found


if __name__ == "__main__":
    write(main)
