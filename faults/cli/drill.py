"""``python -m faults drill PATTERN``: one fault plan, one policy, and what recovery cost."""

from __future__ import annotations

import sys

import click
from click.core import ParameterSource

from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.policies import named
from faults.cli.options import ALL, ON_DISK, requesting
from faults.cli.report import Report, over, reporting
from faults.detect import DETECTORS
from faults.drill import drill as drills
from faults.drill.checks import CHECKS
from faults.drill.drill import Outcome
from faults.drill.job_spec import JobSpec
from faults.drill.request import Request
from faults.drill.resolution import placement
from faults.drill.survivors import at_work_after
from faults.patterns.catalogue import CATALOGUE
from faults.plan.events import describe
from faults.record.outcome import NOT_RECOVERED


@click.command()
@click.argument("pattern", metavar="|".join(CATALOGUE))
@requesting(*ALL)
@reporting("faults", "Say what would happen and what would be checked, and start nothing.")
def drill(request: Request, report: Report) -> None:
    """Run a pattern, inject faults, recover, and print the cost of the recovery.

    Exit status: 0 recovered, 2 bad input, 3 not recovered.
    """
    job = request.spec()
    _check_used(job)
    if report.dry_run:
        for line in _plan(job, request.repeat):
            click.echo(line)
        return
    with report.begun(job.ranks, **over(job, job.world)) as folder:
        drills.check(request, folder, mpirun.find_mpi())
        report.say(_summary(job))
        with report.progress(1 + request.repeat, "jobs") as bar:

            def keep(outcome: Outcome) -> None:
                if outcome.evaluations:
                    timeline = {} if outcome.timeline is None else {"timeline": outcome.timeline}
                    report.save(drill=outcome.to_json(), **timeline)
                bar.advance()

            outcome = drills.run(request, folder, seen=keep)
        report.show()
    if failed := outcome.failed:
        print(f"error: not recovered at phase {failed.phase}: {failed.reason}", file=sys.stderr)
        sys.exit(NOT_RECOVERED)


def _summary(job: JobSpec) -> str:
    waiting = f" and {job.spares} that wait" if job.spares else ""
    return f"{CATALOGUE[job.pattern].summary}: {job.ranks} ranks{waiting}, {job.steps} steps"


def _plan(job: JobSpec, repeat: int) -> list[str]:
    """The lines that ``--dry-run`` prints."""
    hosts = placement(job)
    lines = [_summary(job)]
    if hosts is not None and len(set(hosts)) > 1:
        lines.append(f"hosts of ranks 0 to {len(hosts) - 1}: {' '.join(map(str, hosts))}")
    lines += dict.fromkeys(map(describe, job.events)) or ["no fault"]
    lines.append(f"deaths are detected by {job.detector}")
    lines.append(f"recovery by {job.recovery}: {job.policy.about}")
    uncertain = "at least 1" if any(event.rated for event in job.events) else str(at_work_after(job))
    lines.append(f"ranks after: {job.ranks if job.policy.relaunches else uncertain} of {job.ranks}")
    launches = f"{repeat} drill" + ("s" if repeat > 1 else "")
    lines.append(f"launches: the job without faults, then {launches} with them")
    lines.append(f"checked: {CATALOGUE[job.pattern].oracle}; {'; '.join(CHECKS.values())}")
    return lines


def _check_used(job: JobSpec) -> None:
    """Reject options that would have no effect."""
    source = click.get_current_context().get_parameter_source
    if job.limit_s is not None and not job.failure_detector.has_limit:
        *others, last = [name for name, one in DETECTORS.items() if one.has_limit]
        able = f"{', '.join(others)} or {last}"
        raise UsageError(f"--limit is for --detector {able}, the {job.detector} has no limit of silence: leave it out")
    if job.net is None and source("pace") is not ParameterSource.DEFAULT:
        raise UsageError("--pace is for an emulated network, got no --net: leave it out, or choose --net 10gbe")
    given = [option for name, option in ON_DISK.items() if source(name) is not ParameterSource.DEFAULT]
    if given and not job.on_disk:
        raise UsageError(
            f"{given[0]} is for checkpoints on disk, and {job.pattern} by {job.recovery} writes none: "
            f"leave it out, or choose --recovery {named(lambda one: one.relaunches)} or --checkpoint memory,disk"
        )
    every, mtbf = job.checkpoint["every"], job.checkpoint["mtbf_s"]
    if not every and not job.policy.relaunches:
        able = named(lambda one: one.relaunches)
        raise UsageError(f"--checkpoint-every 0 finds the interval in --recovery {able} only: give a number of steps")
    if every and mtbf is not None:
        raise UsageError(f"--mtbf is for --checkpoint-every 0, got --checkpoint-every {every}: leave one of them out")
