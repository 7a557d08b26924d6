"""Which drill a sheet gets; that the cases survive theirs is tested with their chapters, which carry them out."""

from __future__ import annotations

from pathlib import Path

from demos._lib import design_drill
from emulator.design.model import design_of
from emulator.design.sheet import load
from faults.patterns import catalogue

CASES = Path(__file__).parents[3] / "demos" / "cases"


def test_a_policy_that_the_program_does_not_have_is_drilled_by_its_pattern() -> None:
    sheet = load(CASES / "rag.toml", ("fault_tolerance.policy=reexecute",))
    name, why = design_drill.drilled_program(sheet, "rag.toml", design_of(sheet))
    assert name is None
    assert "recovers by replicate, not by reexecute" in why
    assert "rag" not in catalogue.CATALOGUE
