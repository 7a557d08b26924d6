"""Reject a plan that leaves too few ranks, as far as the plan tells which ones die."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.errors import UsageError
from faults.drill.job_spec import JobSpec
from faults.launch import two_hosts
from faults.patterns.catalogue import Pattern
from faults.plan.model import Event, When


def deaths(job: JobSpec) -> list[Event]:
    """The deaths that the plan is certain to cause."""
    return [event for event in job.events if event.surely_ends_rank]


def at_work_after(job: JobSpec) -> int:
    """Number of ranks at work at the end."""
    living = job.world - len(deaths(job))
    if job.policy.has_spares:
        return max(0, min(job.ranks, living))
    return job.ranks if job.policy.refills else max(0, living)


def check(job: JobSpec, pattern: Pattern) -> None:
    """Reject a plan after which too few ranks remain.

    Raises
    ------
    UsageError
        The plan ends a rank that the policy cannot do without, all ranks of a role, all ranks at one instant, or more
        ranks than the pattern can lose.
    """
    _check_roles(job, pattern)
    if job.policy.relaunches:
        _check_real_hosts(job)
        return
    _check_at_once(job)
    left = at_work_after(job)
    if left < pattern.fewest:
        need = "rank" if pattern.fewest == 1 else "ranks"
        raise UsageError(
            f"the plan ends {len(deaths(job))} of {job.world} ranks{_of_them(job)}, so that {left} would be left, and "
            f"{pattern.name} by {job.recovery} goes on with at least {pattern.fewest} {need}: {_remedy(job)}"
        )


def _check_roles(job: JobSpec, pattern: Pattern) -> None:
    if not pattern.needs_roles:
        return
    roles = pattern.roles(job)
    vital = roles[pattern.leader] if job.policy.replicas == 1 else ()
    for event in job.events:
        if event.kind.ends and event.rank in vital:
            raise UsageError(
                f"fault {event.text!r}: {pattern.name} by {job.recovery} cannot do without rank {event.rank}; "
                f"it recovers by {', '.join(pattern.policies)}"
            )
    ended = {event.rank for event in deaths(job)}
    for role, ranks in roles.items():
        if set(ranks) <= ended:
            raise UsageError(
                f"the plan ends every {role} of {pattern.name} (ranks {', '.join(map(str, ranks))}), which "
                f"by {job.recovery} needs one: spare one, or give -n more"
            )


def _check_real_hosts(job: JobSpec) -> None:
    lost = {two_hosts.placement(job.world)[event.rank] for event in job.events if event.daemon}
    if len(lost) == two_hosts.HOSTS:
        raise UsageError(f"the plan ends all {len(lost)} real hosts, and no host is left to start the job on: drop one")


def _check_at_once(job: JobSpec) -> None:
    """Reject the death of all working ranks at one instant: a spare or a spawned process then finds no state."""
    together: dict[When, set[int]] = {}
    for event in deaths(job):
        together.setdefault(event.when, set()).add(event.rank)
    for ended in together.values():
        if set(range(job.ranks)) <= ended:
            raise UsageError(
                f"the plan ends all {job.ranks} ranks at one instant{_of_them(job)}, and no rank is left to recover by "
                f"{job.recovery}: {_remedy(job)}"
            )


def _of_them(job: JobSpec) -> str:
    lines: Sequence[str] = list(dict.fromkeys(event.text for event in deaths(job)))
    return f" ({'; '.join(lines)})" if len(lines) < 4 else f" ({len(lines)} faults)"


def _remedy(job: JobSpec) -> str:
    return "end fewer, or give -n more" + (" or --spares more" if job.policy.has_spares else "")
