"""Run one rank of a drill on any platform: its instruments, the pattern's program, its result file."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from emulator.errors import UsageError
from faults.agree.deaths import RecoveryFailed
from faults.drill import job_spec
from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext
from faults.inject.injector import Injector
from faults.platform import LOCAL, Platform
from faults.record.journal import Journal, What
from faults.record.status_board import NO_RANK, StatusBoard


def instruments(folder: Path, spec: JobSpec, member: int, platform: Platform = LOCAL) -> DrillContext:
    """Make journal, board and injector of a member of the job in that folder."""
    board = StatusBoard(folder / job_spec.BOARD, spec.members, len(spec.events), platform)
    place = member if member < spec.world else NO_RANK
    board.enter(member, place, spec.attempt)
    journal = Journal(folder / job_spec.JOURNAL, member, spec.attempt, platform.clock)
    injector = Injector(spec.events, board, journal, member, place)
    return DrillContext(journal, board, injector, member, platform, folder if spec.trace else None)


def work(spec: JobSpec, folder: Path, tools: DrillContext) -> None:
    """Run the pattern's program and write a result file, or journal why the job was given up."""
    module = spec.options.get("program", f"faults.patterns.{spec.pattern.replace('-', '_')}")
    try:
        record = importlib.import_module(module).run(spec, folder, tools)
    except RecoveryFailed as lost:
        tools.journal.write(What.LOST, phase=lost.phase, reason=lost.reason)
        return
    except UsageError as error:  # of an algorithm that needs more ranks than are left
        tools.journal.write(What.LOST, phase="rebuild", reason=str(error))
        return
    waiting = folder / job_spec.RESULTS / f".{tools.member:03d}"
    waiting.write_text(json.dumps(record | {"member": tools.member, "attempt": spec.attempt}))
    waiting.replace(folder / job_spec.RESULTS / f"{tools.member:03d}.json")


def leave(tools: DrillContext) -> None:
    """Record on board and journal that this rank ends by itself, not by a fault."""
    tools.journal.write(What.LEFT)
    if tools.recorder is not None:
        tools.recorder.close()
    if tools.board is not None:
        tools.board.leave(tools.member)
