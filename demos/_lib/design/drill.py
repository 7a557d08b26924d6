"""`demos.design drill`: kill what a sheet says it survives, by the drills of `faults`.

What dies is the sheet's own program, if it has a `DRILL` (`demos._lib.cases.case`) with the sheet's policy; else the
training or service of `faults` with the pattern of the design.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from demos._lib.cases.case import program_of
from demos._lib.design import report as design_report
from demos._lib.design.receipts import kept
from demos._lib.program import SheetRequest
from emulator import design, policies
from emulator.design.model import Design, Facts, facts_and_design
from emulator.design.prices import failures, pricing
from emulator.design.sheets.sheet import Sheet
from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.units import format_time
from faults.cli.report import Report, over
from faults.drill import drill as drills
from faults.drill.job_spec import JOURNAL, JobSpec
from faults.drill.request import Request
from faults.drill.timeline import completed
from faults.patterns.catalogue import CATALOGUE, Pattern
from faults.record import journal
from faults.record.journal import What
from faults.record.outcome import NOT_RECOVERED

_STEP = 10  # at which the ranks are killed


def pattern_of(chosen: Design) -> Pattern:
    """The drill for the flow that recovers by the design's policy.

    Raises
    ------
    UsageError
        No flow's pattern has a drill of that policy.
    """
    names = ["ring" if flow.kind.sums else flow.pattern for flow in chosen.flows]
    for name in names:
        if chosen.policy in CATALOGUE[name].policies:
            return CATALOGUE[name]
    legal = "; ".join(f"{name}: {', '.join(CATALOGUE[name].policies)}" for name in dict.fromkeys(names))
    raise UsageError(f"fault_tolerance.policy must have a drill, got {chosen.policy!r}: legal are {legal}")


def drilled_program(sheet: Sheet, path: str, chosen: Design) -> tuple[Pattern | None, str]:
    """The drill of a sheet's own program; without one, None and the reason."""
    case = program_of(sheet, path)
    plan: Pattern | None = getattr(case, "DRILL", None)
    if plan is None:
        return None, f"{sheet.program} has no drill" if case else ""
    if chosen.policy not in plan.policies:
        return None, f"the drill of {sheet.program} recovers by {', '.join(plan.policies)}, not by {chosen.policy}"
    return plan, ""


def request_of(
    sheet: Sheet, chosen: Design, nodes: int, most: int, repeat: int, seed: int, program: Pattern | None = None,
    simulate: bool = False,
) -> Request:  # fmt: skip
    """The drill's request: at most `most` ranks; the last ones die, or a server if servers have replicas.

    Parameters
    ----------
    program : the drill; absent: that of the design's pattern
    simulate : on simulated ranks

    Raises
    ------
    UsageError
        The deaths leave too few ranks.
    """
    plan, policy = program or pattern_of(chosen), policies.of(chosen.policy)
    ranks = max(plan.least_ranks, min(most, nodes))
    deaths = sheet.fault_tolerance.survive if sheet.fault_tolerance else 1
    spares = max(chosen.spares, deaths) if policy.has_spares else None
    if plan.leader and policy.replicas > 1:
        if deaths >= policy.replicas:
            raise UsageError(f"fault_tolerance.survive is below the drill's {policy.replicas} replicas, got {deaths}")
        victims = list(range(deaths))
    else:
        if not 1 <= deaths <= ranks - max(2, plan.fewest):
            raise UsageError(f"fault_tolerance.survive must leave 2 of the drill's {ranks} ranks, got {deaths}: -n N")
        victims = [ranks - 1 - number for number in range(deaths)]
    faults = [f"kill {rank} @ step {_STEP}" for rank in victims]
    return Request(
        plan.name,
        ranks,
        faults,
        recovery=chosen.policy,
        spares=spares,
        seed=seed,
        repeat=repeat,
        simulate=simulate,
        options=dict(plan.options),
    )


def recovery_price(facts: Facts, chosen: Design, folder: Path, job: JobSpec) -> tuple[float, str]:
    """Predicted seconds of a recovery in this drill, and the source of the figure.

    Without a figure of the sheet's own, the job that ran without faults says how quick this machine is; what the launch
    of a simulated job takes is given.
    """
    if facts.recovery is not None:
        return facts.recovery, "given in the sheet"
    records = journal.read(folder / drills.STEADY / JOURNAL)
    begun = [one["at"] for one in records if one["what"] == What.STARTED]
    launched = next(one["at"] for one in records if one["what"] == What.LAUNCHED)
    commits = [completed(one) for one in records if one["what"] == What.COMMIT]
    steps = len({one["step"] for one in records if one["what"] == What.COMMIT})
    step = (max(commits) - min(commits)) / max(1, steps - 1)
    launch = job.costs.launch_s if job.simulate else max(begun) - launched
    machine = failures.Machine(job.ranks, launch, step)
    how = (f"{job.ranks} ranks start {'by what is given' if job.simulate else 'here'} in {format_time(launch)}, a step "
           f"takes {format_time(step)}")  # fmt: skip
    return failures.recovery_on(machine, chosen.policy), how


def start(
    asked: SheetRequest,
    most: int,
    simulate: bool,
    repeat: int,
    seed: int,
    faults: tuple[str, ...],
    place: dict[str, Any],
) -> int:
    """Carry out the drill and print it; returns the exit status.

    Parameters
    ----------
    most, simulate : at most so many ranks, simulated or real
    faults : fault lines; absent: the deaths that the sheet says it survives
    """
    sheet = asked.sheet
    facts, chosen = facts_and_design(sheet, asked.terms)
    priced = design.predict(sheet, asked.terms)
    nodes = pricing.chosen_nodes(sheet, priced)
    program, why_not = drilled_program(sheet, asked.path, chosen)
    beside = chosen.beside if program else chosen.servers
    request = request_of(sheet, chosen, nodes + beside, most, repeat, seed, program, simulate)
    request.faults, request.trace = faults or request.faults, place["trace"]
    job = request.spec()
    report = Report("design", False, place["out"], place["json"], place["quiet"])
    with report.begun(job.ranks, **over(job, job.world)) as folder:
        drills.check(request, folder, mpirun.find_mpi())

        def keep(outcome: drills.Outcome) -> None:
            if outcome.evaluations:
                seconds, how = recovery_price(facts, chosen, folder, job)
                report.save(
                    **kept(sheet, design_report.record(priced, nodes)), drill=outcome.to_json(),
                    **({} if outcome.timeline is None else {"timeline": outcome.timeline}),
                    priced_recovery=seconds, priced_by=how,
                )  # fmt: skip

        if why_not:
            report.say(f"{why_not}: the drill of its pattern instead")
        report.say(f"{job.pattern} of {job.ranks} ranks by {job.recovery}: {'; '.join(request.faults)}")
        outcome = drills.run(request, folder, seen=keep)
        report.show()
    failed = outcome.failed
    if failed is None:
        return 0
    print(f"error: not recovered at phase {failed.phase}: {failed.reason}", file=sys.stderr)
    return NOT_RECOVERED
