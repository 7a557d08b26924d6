"""Who is left of a job after all of its planned deaths, as far as the plan alone can tell."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.errors import UsageError
from faults.drill.job_spec import JobSpec
from faults.launch import two_hosts
from faults.patterns.catalogue import Blueprint
from faults.plan.model import Event, When


def deaths(job: JobSpec) -> list[Event]:
    """Events that take a rank away for certain: of a rate's events the last may come after the end of the run."""
    return [event for event in job.events if event.ends_rank and not event.rated]


def at_work_after(job: JobSpec) -> int:
    """Ranks at work at the end."""
    living = job.world - len(deaths(job))
    if job.policy.has_spares:
        return max(0, min(job.ranks, living))
    return job.ranks if job.policy.refills else max(0, living)


def check(job: JobSpec, plan: Blueprint) -> None:
    """Reject a plan after which too few ranks remain.

    Raises
    ------
    UsageError
        The plan ends a rank that the policy cannot do without, everybody of a role, all ranks at one instant, or more
        ranks than the pattern can lose.
    """
    _check_vital(job, plan)
    if job.policy.relaunches:
        _check_real_hosts(job)
        return
    _check_at_once(job)
    left = at_work_after(job)
    if left < plan.fewest:
        need = "rank" if plan.fewest == 1 else "ranks"
        raise UsageError(
            f"the plan ends {len(deaths(job))} of {job.world} ranks{_of_them(job)}, so that {left} would be left, and "
            f"{plan.name} by {job.recovery} goes on with at least {plan.fewest} {need}: {_remedy(job)}"
        )


def _check_vital(job: JobSpec, plan: Blueprint) -> None:
    for event in job.events:
        if event.kind.ends and event.rank in plan.vital(job):
            raise UsageError(
                f"fault {event.text!r}: {plan.name} by {job.recovery} cannot do without rank {event.rank}; "
                f"it recovers by {', '.join(plan.policies)}"
            )
    ended = {event.rank for event in deaths(job)}
    for role in plan.needed:
        ranks = set(plan.roles(job)[role])
        if ranks <= ended:
            raise UsageError(
                f"the plan ends every {role} of {plan.name} (ranks {', '.join(map(str, sorted(ranks)))}), which "
                f"by {job.recovery} needs one: spare one, or give -n more"
            )


def _check_real_hosts(job: JobSpec) -> None:
    lost = {two_hosts.placement(job.world)[event.rank] for event in job.events if event.daemon}
    if len(lost) == two_hosts.HOSTS:
        raise UsageError(f"the plan ends all {len(lost)} real hosts, and no host is left to start the job on: drop one")


def _check_at_once(job: JobSpec) -> None:
    """Reject the death of all that are at work at one instant: who waits or is spawned then finds no state."""
    together: dict[When, set[int]] = {}
    for event in deaths(job):
        together.setdefault(event.when, set()).add(event.rank)
    for ended in together.values():
        if set(range(job.ranks)) <= ended:
            raise UsageError(
                f"the plan ends all {job.ranks} ranks at one instant{_of_them(job)}, and nobody is left to recover by "
                f"{job.recovery}: {_remedy(job)}"
            )


def _of_them(job: JobSpec) -> str:
    lines: Sequence[str] = list(dict.fromkeys(event.text for event in deaths(job)))
    return f" ({'; '.join(lines)})" if len(lines) < 4 else f" ({len(lines)} faults)"


def _remedy(job: JobSpec) -> str:
    more = " or --spares more" if job.policy.has_spares else ""

    return f"end fewer, or give -n more{more}"
