"""The agentic model: shards that join, and what must hold for the run that the chapter shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from demos._lib.cases import char_model as model
from demos.cases import agentic
from tests.demos.launched import refuse_simulated


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_join_to_the_model_that_was_cut(parts: int) -> None:
    whole = model.begin(21)
    again = model.joined([model.part(whole, place, parts) for place in range(parts)])
    assert all(np.array_equal(again[name], value) for name, value in whole.items())


def test_the_shards_of_hidden_units_add_up_to_the_logits_of_the_whole() -> None:
    whole, seen = model.begin(20), np.eye(model.CONTEXT * model.V)[:5]
    shards = [model.part(whole, place, 4) for place in range(4)]
    parts = [np.tanh(seen @ shard["w1"]) @ shard["w2"] for shard in shards]
    assert np.allclose(sum(parts), np.tanh(seen @ whole["w1"]) @ whole["w2"], rtol=0, atol=1e-12)


def test_it_learns_and_says_the_same_every_time() -> None:
    text = model.text(60)
    losses, whole = model.losses_alone(text, 20, 120)
    assert np.mean(losses[-10:]) < losses[0] - 0.8
    said = model.draft(whole, "return the ", 12, 1)
    assert said == model.draft(whole, "return the ", 12, 1)
    assert len(said) == len("return the ") + 12
    assert model.likelihood(whole, said) < 0
    assert agentic.episodes_alone(whole) == agentic.episodes_alone(whole)


def check_run(result: dict[str, Any]) -> None:
    """Check the result of the chapter's run: curve and texts are those of one process, terms are as predicted."""
    parts = result["case"]
    assert [part["passed"] for part in parts if "passed" in part] == [True, True]
    training, serving = (part for part in parts if "rows" in part)
    assert all(row[3] < 1e-9 for row in training["rows"])
    assert training["rows"][-1][1] < training["rows"][0][1] - 1
    times = {row[0].strip(): row for row in serving["rows"]}
    assert times["a worker 20 times slower"][1] > 2 * times["its tasks again elsewhere"][1]
    assert times["a worker gone, tasks again"][3] >= 1
    terms = {row["term"]: row for part in parts for row in part.get("terms", {}).get("rows", ())}
    for term in ("compute", "latency", "waiting", "total"):
        assert terms[term]["predicted"] == pytest.approx(terms[term]["measured"], rel=0.15), term


def test_two_ranks_are_too_few() -> None:
    why = "the orchestrator, and a pair that shares the model"
    assert f"needs at least 3 ranks ({why}), got --simulate 2" in refuse_simulated("cases.agentic", 2, "")
