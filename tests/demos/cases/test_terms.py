"""Measured terms of the cases beside their price, on simulated ranks: no process, exact times."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos._lib.cases import case
from demos._lib.cases import terms as case_terms
from emulator import network, sim
from emulator.design.prices import skeleton as skeletons

REGIONS = str(Path(__file__).parents[3] / "examples" / "networks" / "regions.toml")


def _measured(module: Any, sheet: Any, ranks: int, name: str) -> dict[str, float]:
    whole = network.load(name).sized(ranks)
    parts = {"nothing": case_terms.without(whole), "latency": case_terms.without(whole, latency=True),
             "whole": case_terms.steady(whole) or whole}  # fmt: skip

    @cache
    def seconds(part: str, unequal: bool) -> float:
        settled = case_terms._settles(sheet)
        steps = case.Steps(122 if settled else 62, sheet.job.spread * unequal) if unequal or settled else case.Steps(8)
        ends: dict[int, list[float]] = {}

        def rank(comm: Any) -> None:
            data = module.data(comm, sheet)
            found = module.timed(comm, sheet, data, steps)
            if found:
                ends[comm.Get_rank()] = found

        sim.run(rank, ranks, parts[part])
        done = np.array(list(ends.values())).mean(axis=0)
        return float(done[-1] - done[skeletons.WARM_UP - 1]) / (len(done) - skeletons.WARM_UP)

    return case_terms._differences(sheet, seconds)


@pytest.mark.parametrize(
    ("name", "net", "terms"),
    [
        ("recommendation", "home", {"compute", "latency", "bandwidth"}),  # answers queue at the server's slow card
        ("recommendation", REGIONS, {"compute", "latency"}),  # paths of unequal latency
        ("federated", "wan", {"compute", "latency"}),
        ("federated", "volunteers", {"compute", "latency"}),  # machines of unequal speed
        ("swarm", "home", {"compute"}),
    ],
)
def test_a_step_takes_what_its_scaled_sheet_says(name: str, net: str, terms: set[str]) -> None:
    module: Any = importlib.import_module(f"demos.cases.{name}")
    sheet = module.scaled(case.on_network(case.sheet_beside(module.__file__), net), 4)
    measured, (priced, how) = _measured(module, sheet, 4, net), case_terms.price(sheet, 4, 0)
    assert how == "message by message"
    assert not skeletons.off(measured, priced)
    assert {term for term in skeletons.TERMS if measured[term] > 0.05 * measured["total"]} == terms
