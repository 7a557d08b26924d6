"""Which drill a sheet gets; that the cases survive theirs is tested with their chapters, which carry them out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from demos import design
from demos._lib import design_drill
from emulator import results
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


@pytest.fixture
def catalogue_as_it_was() -> Iterator[None]:
    before = dict(catalogue.CATALOGUE)
    yield
    catalogue.CATALOGUE.clear()
    catalogue.CATALOGUE.update(before)


@pytest.mark.usefixtures("catalogue_as_it_was")
@pytest.mark.parametrize(
    ("name", "ranks", "change"),
    [
        ("swarm", 6, ()),
        ("federated", 6, ()),
        ("rag", 4, ()),
        ("recommendation", 6, ()),
        ("agentic", 4, ("--change", "fault_tolerance.policy=spare")),
    ],
)
def test_a_case_survives_its_drill_on_simulated_ranks(
    tmp_path: Path, name: str, ranks: int, change: tuple[str, ...]
) -> None:
    options = ["--simulate", str(ranks), "--out", str(tmp_path), *change]
    done = CliRunner().invoke(design.main, ["drill", str(CASES / f"{name}.toml"), *options])
    assert done.exit_code == 0, done.output
    found = results.load(tmp_path)
    assert found["clock"] == "simulated"
    assert found["drill"]["outcome"] == "recovered"
    assert all(fault["fired"] for fault in found["drill"]["faults"])
    assert all(check["ok"] for check in found["drill"]["checks"].values())


@pytest.mark.usefixtures("catalogue_as_it_was")
def test_a_policy_that_starts_processes_is_not_simulated() -> None:
    done = CliRunner().invoke(design.main, ["drill", str(CASES / "agentic.toml"), "--simulate", "4"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: simulated ranks are not started later, got fault_tolerance.policy 'respawn'")
    assert done.stderr.count("\n") == 1
