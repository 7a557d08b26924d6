"""Policies, fault kinds, detectors and patterns are objects: their names are not compared; a new one works at once."""

import ast
import re
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from emulator import policies
from emulator.errors import UsageError
from emulator.policies import POLICIES, Policy
from emulator.report.views import drill
from faults.checkpoint import Store
from faults.detect import DETECTORS
from faults.drill.drill import run as run_drill
from faults.drill.request import Request
from faults.drill.survivors import at_work_after
from faults.inject import checkpoint_faults
from faults.inject.injector import Injector
from faults.inject.network_changes import NetworkFaults
from faults.patterns import catalogue
from faults.plan.events import describe
from faults.plan.grammar import parse
from faults.plan.kinds import KINDS, Kind
from faults.plan.model import Event, When
from faults.record.journal import PHASE_ENDS, NoJournal
from faults.record.status_board import StatusBoard

ROOT = Path(__file__).parents[2] / "faults"
NAMES = {*POLICIES, *KINDS, *catalogue.CATALOGUE, *DETECTORS}


def compared(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and name of each comparison with the name of a policy, a kind, a detector or a pattern."""
    found = []
    for node in ast.walk(tree):
        sides: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        constants = [one for side in sides for one in ast.walk(side) if isinstance(one, ast.Constant)]
        found += [(one.lineno, one.value) for one in constants if one.value in NAMES]
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_of_a_policy_a_kind_a_detector_or_a_pattern_is_compared(path: Path) -> None:
    assert compared(ast.parse(path.read_text())) == []


def test_a_comparison_is_found_however_it_is_written() -> None:
    text = 'a == "shrink"\n"kill" in b\nc in ("ring", "x")\nmatch d:\n    case "spare": pass\ne = "shrink"'
    assert [name for _, name in compared(ast.parse(text))] == ["shrink", "kill", "ring", "spare"]


def test_no_remedy_names_a_policy() -> None:
    """They are found by property (`policies.named`), so that a new policy is among them."""
    names = re.compile(rf"(--recovery|policy|by) '?({'|'.join(POLICIES)})\b")
    texts = [
        (path.name, part.value)
        for path in ROOT.rglob("*.py")
        for raised in ast.walk(ast.parse(path.read_text()))
        if isinstance(raised, ast.Raise)
        for part in ast.walk(raised)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    assert len(texts) > 300
    assert [found for found in texts if names.search(found[1])] == []


def test_a_policy_is_added_by_its_entry_alone(monkeypatch, tmp_path) -> None:
    added = Policy(
        "promote", "a rank that waited takes the place, at once", repairs=True, refills=True, has_spares=True,
        points=("agree", "promote"),
    )  # fmt: skip
    ring = catalogue.CATALOGUE["ring"]
    monkeypatch.setitem(policies.POLICIES, "promote", added)
    monkeypatch.setitem(catalogue.CATALOGUE, "ring", replace(ring, policies=(*ring.policies, "promote")))
    job = Request("ring", 4, ["kill 1 @ step 2", "kill 2 @ phase promote"], "promote").spec()
    assert (job.policy, job.spares, at_work_after(job)) == (added, 1, 3)
    with pytest.raises(UsageError, match="--recovery spare or promote"):
        Request("ring", 4, ["kill 1 @ step 2"], "shrink", spares=1).spec()
    met = ["kill 1 @ step 2", "kill 2 @ phase promote"]
    outcome = run_drill(Request("ring", 4, met, "promote", simulate=True), tmp_path / "job", steady=False)
    told = drill.finding({"drill": outcome.to_json()})
    assert told is not None
    assert "ring recovered by promote" in told
    assert "3 of 4 ranks go on" in told


def test_a_kind_of_fault_is_added_by_its_entry_and_its_handler(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(KINDS, "chill", Kind("chill", "the rank's core is throttled", lasts=True))
    fault = parse("chill 1 @ step 2 for 3 s")
    assert fault.duration_s == 3.0
    job = Request("ring", 4, [fault.text], "shrink").spec()
    job.save(tmp_path)
    (event,) = type(job).load(tmp_path).events
    assert "chill rank 1 for 3.00 s at step 2" in describe(event)
    met = []
    board = StatusBoard.create(tmp_path / "board", 4, 1)
    injector = Injector([event], board, NoJournal(), 1, 1)
    with pytest.raises(UsageError, match="does not handle the kind chill"):
        injector.begin(0.0)
    injector.handle({"chill": met.append})
    with pytest.raises(ValueError, match="a second one for chill"):
        injector.handle({"chill": met.append})
    injector.begin(0.0)
    injector.at_step(2)
    assert met == [event]


def test_every_kind_has_one_handler_or_a_signal(tmp_path) -> None:
    """On an emulated network a rank is slow in emulated time, everywhere else it sleeps."""
    injector = Injector([], StatusBoard.create(tmp_path / "board", 4, 1), NoJournal(), 1, 1)
    own = set(injector.handlers)
    network = NetworkFaults(SimpleNamespace(network_state=None, members=()), print).handlers().keys()
    checkpoints = checkpoint_faults.handlers(Store(tmp_path / "store", "job")).keys()
    signals = {kind.name for kind in KINDS.values() if kind.signal is not None}
    assert Counter([*own, *network, *checkpoints, *signals]) == Counter([*KINDS, "slow"])


def test_the_properties_of_a_kind_decide_what_it_does() -> None:
    assert [kind.name for kind in KINDS.values() if kind.signal is signal.SIGKILL] == ["kill"]
    for kind in KINDS.values():
        assert kind.ends or not (kind.final or kind.silent)
        assert kind.lasts or not (kind.persists or kind.needs_duration)
        event = Event("0.0", "", kind, 0, When(step=1))
        assert event.ends_rank == kind.ends


def test_every_phase_of_a_recovery_is_explained() -> None:
    table = drill.timeline({"phases": dict.fromkeys(PHASE_ENDS, 1e-3)})
    assert [row[0] for row in table.rows if row[-1]] == list(PHASE_ENDS)
