"""Which drill a sheet gets; that the cases survive theirs is tested with their chapters, which carry them out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from demos import design
from demos._lib.design import drill
from emulator.design.model import design_of
from emulator.design.sheets.sheet import load
from faults.patterns.catalogue import CATALOGUE
from tests.demos.cases.test_chapters import check_drill

CASES = Path(__file__).parents[3] / "demos" / "cases"


def test_a_policy_that_the_program_does_not_have_is_drilled_by_its_pattern() -> None:
    sheet = load(CASES / "rag.toml", ("fault_tolerance.policy=reexecute",))
    name, why = drill.drilled_program(sheet, "rag.toml", design_of(sheet))
    assert name is None
    assert "recovers by replicate, not by reexecute" in why


@pytest.mark.parametrize("policy", ["spare", "respawn"])
def test_a_drill_is_survived_on_simulated_ranks(tmp_path: Path, policy: str) -> None:
    """The agentic case, whose own policy starts processes; the other cases' drills are those of their chapters."""
    options = ["--simulate", "4", "--out", str(tmp_path), "--change", f"fault_tolerance.policy={policy}"]
    done = CliRunner().invoke(design.main, ["drill", str(CASES / "agentic.toml"), *options])
    assert done.exit_code == 0, done.output
    check_drill(tmp_path)
    assert "agentic" not in CATALOGUE
