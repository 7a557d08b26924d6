"""The deaths that the sheets of the cases survive, in the cases' own programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from demos._lib import design_drill
from emulator import results
from emulator.design.model import design_of
from emulator.design.sheet import load
from faults.patterns import catalogue
from tests.demos.test_design_run import CASES, _command


@pytest.mark.parametrize(
    ("name", "ranks", "faults"),
    [
        ("rag", 5, ["kill 3 @ step 10"]),
        ("agentic", 4, ["kill 2 @ step 9", "kill 0 @ step 30"]),
        ("recommendation", 5, ["kill 0 @ step 10"]),
        ("federated", 5, ["kill 4 @ step 10"]),
        ("swarm", 5, ["kill 2 @ step 10"]),
    ],
)
def test_a_case_survives_and_its_answers_stay_right(name: str, ranks: int, faults: list[str], tmp_path: Path) -> None:
    given = [word for line in faults for word in ("--fault", line)]
    done = _command("drill", str(CASES / f"{name}.toml"), "-n", str(ranks), *given, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    drill = results.load(tmp_path / "runs" / "design" / "latest")["drill"]
    assert drill["pattern"] == {"federated": "hospitals"}.get(name, name)
    assert drill["result_matches"]
    assert [fault["fired"] for fault in drill["faults"]] == [True] * len(faults)


def test_a_policy_that_the_program_does_not_have_is_drilled_by_its_pattern() -> None:
    sheet = load(CASES / "rag.toml", ("fault_tolerance.policy=reexecute",))
    name, why = design_drill.drilled_program(sheet, "rag.toml", design_of(sheet))
    assert name is None
    assert "recovers by replicate, not by reexecute" in why
    assert "rag" not in catalogue.CATALOGUE
