"""Workers killed by SIGKILL: their tasks run elsewhere, every result counts once, nobody hangs, nothing is left."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.launch.job import start

FORMS = "dynamic", "large", "keyed", "stealing"
CASES = [(form, [2, 3]) for form in FORMS] + [("dynamic", [1]), ("stealing", [3])]


@pytest.mark.parametrize(("form", "victims"), CASES, ids=str)
def test_killed_workers(form: str, victims: list[int], tmp_path: Path) -> None:
    verdict = tmp_path / "verdict.json"
    program = ["-m", "tests.primitives.scatter_gather_kill", form, str(verdict), *map(str, victims)]
    ranks = 5 if form == "keyed" else 4  # with 4 each worker has all keys
    try:
        command = mpirun.command(ranks, program, ft=True)
    except UsageError as error:
        pytest.skip(str(error))
    for _ in range(3):  # some launches under ULFM fail at once, before the program begins
        with start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
            status = job.wait(60)
        assert status is not None, "the job hung"
        assert job.leftovers() == []
        if verdict.exists() or status != 213:
            break
    seen = json.loads(verdict.read_text())
    assert seen["values"] == [x * x for x in range(60)]
    assert sorted(seen["order"]) == list(range(60))
    assert sorted(seen["dead"]) == victims
