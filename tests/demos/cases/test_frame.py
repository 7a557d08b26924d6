"""What all case studies share: the module behind a sheet, the cut design, and networks without a part of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demos._lib.cases import case, terms
from demos.cases import federated
from emulator import design, network
from emulator.errors import UsageError

NETWORKS = Path(__file__).parents[3] / "examples" / "networks"
CASES = Path(__file__).parents[3] / "demos" / "cases"


def test_a_program_that_is_no_case_is_refused_with_file_field_and_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "half_a_case.py").write_text("RANKS = 2\n")
    (tmp_path / "broken_case.py").write_text("1 / 0\n")
    text = (CASES / "example_a.toml").read_text()
    for program, reason in (
        ("no_such_module", "ModuleNotFoundError"),
        ("half_a_case", "no scaled, data, timed, main"),
        ("broken_case", "ZeroDivisionError"),
    ):
        sheet = design.parse(f'program = "{program}"\n{text}')
        with pytest.raises(UsageError, match=f"mine.toml: program must be .*{program!r}.*{reason}") as error:
            case.program_of(sheet, "mine.toml")
        assert "\n" not in str(error.value)
        sys.modules.pop(program, None)
    with pytest.raises(UsageError, match="program"):
        design.parse(f'program = "not a module"\n{text}')
    assert case.program_of(design.parse(text), "mine.toml") is None


def test_a_plan_keeps_the_program(tmp_path: Path) -> None:
    from emulator.design.sheets.writer import sheet_text

    text = (CASES / "rag.toml").read_text()
    found = design.plan(design.parse(text))
    assert design.parse(sheet_text(found, text)).program == "demos.cases.rag"


def test_a_cut_design_computes_as_long_on_each_node() -> None:
    sheet = design.load(CASES / "rag.toml")
    small = case.cut(sheet, 7, query={"answer_bytes": 100})
    assert small.partition is not None
    assert small.partition.nodes == 7
    whole, part = design.predict(sheet), design.predict(small)
    assert part.at(7)["compute"] == pytest.approx(whole.at(sheet.partition.nodes)["compute"])  # type: ignore[union-attr,arg-type]
    assert (small.task[0].answer_bytes, sheet.task[0].answer_bytes) == (100, 20_000)
    assert small.communication == sheet.communication


@pytest.mark.parametrize(
    "name", ["cloud-zone", "hdr", "home", "volunteers", "racks.toml", "regions.toml", "fat-tree.toml", "torus.toml"]
)
def test_a_network_loses_its_bandwidth_and_then_its_latency(name: str) -> None:
    whole = network.load(str(NETWORKS / name) if name.endswith(".toml") else name).sized(8)
    for latency in (True, False):
        bare = terms.without(whole, latency)
        for other in (1, 4, 7):
            path = bare.between(0, other)
            assert (path.alpha, path.beta) == (whole.between(0, other).alpha if latency else 0.0, 0.0)
            assert path.delay(1, 1, 100) == 0.0
            assert not path.links


@pytest.mark.parametrize("name", ["home", "volunteers"])
def test_a_steady_network_keeps_all_but_jitter_and_loss(name: str) -> None:
    whole = network.load(name).sized(4)
    found = terms.steady(whole)
    assert found is not None
    assert (found.spec.jitter, found.spec.loss) == (None, None)
    assert (found.spec.hosts, found.spec.alpha, found.spec.beta) == (
        whole.spec.hosts,
        whole.spec.alpha,
        whole.spec.beta,
    )
    assert terms.steady(network.load("10gbe").sized(4)) is None


@pytest.mark.parametrize(("net", "priced"), [("home", "home"), (None, "shm")])
def test_a_case_is_priced_on_the_network_of_its_run(net: str | None, priced: str) -> None:
    run: Any = SimpleNamespace(options=SimpleNamespace(net=net))
    assert case.sheet_beside(federated.__file__, run).network.preset == priced
    assert case.sheet_beside(federated.__file__).network.preset == "wan"


def test_factors_have_mean_one_and_the_spread() -> None:
    factors = case.Steps(4000, 0.3, seed=1).factors(3)
    assert factors.mean() == pytest.approx(1.0, abs=0.01)
    assert factors.std() == pytest.approx(0.3, rel=0.05)
    assert np.array_equal(factors, case.Steps(4000, 0.3, seed=1).factors(3))
    assert (case.Steps(5).factors(2) == 1.0).all()
