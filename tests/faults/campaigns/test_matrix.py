"""The matrix: which cells there are, what is refused, and that a cell is a drill."""

import json

import pytest
from click.testing import CliRunner

from emulator import results
from emulator.errors import UsageError
from faults.__main__ import main
from faults.campaigns import matrix
from faults.campaigns.matrix import FAILED, REFUSED, SCENARIOS, SURVIVED, Cell
from faults.drill.request import Request
from faults.patterns.catalogue import CATALOGUE


def test_every_policy_of_every_pattern_meets_every_fault_that_means_something_to_it() -> None:
    found = matrix.cells()
    assert len(found) == len(set(found))
    for plan in CATALOGUE.values():
        for policy in plan.policies:
            faults = {cell.fault for cell in found if (cell.pattern, cell.recovery) == (plan.name, policy)}
            assert faults == {name for name, one in SCENARIOS.items() if one.needs in (None, *plan.options)}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"patterns": ["rign"]}, "a pattern is one of ring"),
        ({"policies": ["hope"]}, "a policy is one of shrink"),
        ({"faults": ["flood"]}, "a fault of the matrix is one of middle"),
        ({"patterns": ["gossip"], "policies": ["shrink"]}, "gossip recovers by continue"),
    ],
)
def test_unknown_names_and_empty_choices_are_refused(chosen: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        matrix.cells(**chosen)


def test_a_host_is_half_of_the_ranks() -> None:
    job = Cell("ring", "spare", "host").request(Request(ranks=5, spares=2)).spec()
    assert sorted(event.rank for event in job.events) == [3, 4]


def test_a_chosen_network_is_that_of_every_cell() -> None:
    def net(fault: str, chosen: str | None) -> str | None:
        return Cell("ring", "shrink", fault).request(Request(ranks=4, net=chosen)).net

    assert [net("middle", None), net("cut", None)] == [None, "1gbe"]
    assert [net("middle", "10gbe"), net("cut", "10gbe")] == ["10gbe", "10gbe"]


def test_what_a_pattern_cannot_do_is_not_run_and_says_why(tmp_path) -> None:
    (found,) = matrix.run([Cell("federated", "continue", "first")], Request(ranks=4), tmp_path)
    assert found.outcome == REFUSED
    assert "cannot do without rank 0" in found.why
    assert not list(tmp_path.iterdir())


def test_a_cell_is_a_drill_and_its_record_is_kept(tmp_path) -> None:
    out = tmp_path / "run"
    asked = ["--simulate", "3", "--patterns", "ring", "--policies", "shrink", "--faults", "middle", "--out", str(out)]
    done = CliRunner().invoke(main, ["matrix", *asked])
    assert done.exit_code == 0, done.output
    assert "1 of 1 drills survived" in done.stdout
    (cell,) = results.load(out)["matrix"]
    assert (cell["outcome"], cell["drill"]["ranks_after"]) == (SURVIVED, 2)
    assert cell["drill"]["overhead"]["fault_free_seconds"] > 0


def test_a_cell_that_does_not_survive_says_where_it_stopped(tmp_path, monkeypatch) -> None:
    late = matrix.Scenario("never", lambda ranks, plan: ("kill 1 @ time 1 h",))
    monkeypatch.setitem(SCENARIOS, "late", late)
    (found,) = matrix.run([Cell("ring", "shrink", "late")], Request(ranks=3, simulate=True), tmp_path)
    assert found.outcome == FAILED
    assert "0 of 1" in found.why
    assert json.dumps(vars(found))
