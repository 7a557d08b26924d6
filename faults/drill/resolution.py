"""Resolve a request into a job; reject what is contradictory or impossible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emulator import policies
from emulator.errors import UsageError
from emulator.network import load
from emulator.policies import Policy
from faults.agree.quorum import has_quorum
from faults.detect import HEARTBEAT, RUNTIME
from faults.drill import survivors
from faults.drill.job_spec import CHECKPOINT, JobSpec
from faults.drill.request import Request
from faults.launch import two_hosts
from faults.patterns import catalogue
from faults.patterns.catalogue import CATALOGUE, Pattern
from faults.plan import consistency
from faults.plan.events import resolve as events_of
from faults.plan.grammar import parse
from faults.plan.kinds import KINDS
from faults.plan.model import Event, Fault, When

_SIMULATED_BYTES = 3 << 20  # of a simulated rank with its communicators and its model
OWN_BYTES = 1 << 16  # of arrays that only one rank has, where there are levels of checkpoints


def resolve(request: Request, seed: int) -> JobSpec:
    """Resolve the request into the job of one repeat, whose faults are drawn with `seed`.

    Raises
    ------
    UsageError
        Ranks, spares, options or faults that the pattern or the policy cannot do.
    """
    pattern = catalogue.of(request)
    recovery = request.recovery or pattern.policies[0]
    if recovery not in pattern.policies:
        raise UsageError(f"{pattern.name} recovers by {', '.join(pattern.policies)}, got {recovery!r}")
    policy = policies.of(recovery)
    faults = [parse(line) for line in request.faults]
    for name in request.options:
        if name not in pattern.options:
            raise UsageError(f"{pattern.name} has the options {', '.join(pattern.options) or 'none'}, got {name!r}")
    checkpoint = CHECKPOINT | request.checkpoint
    own = {"own": OWN_BYTES, "agree": 1} if checkpoint["levels"] else {}
    spares = int(policy.has_spares) if request.spares is None else request.spares
    made = {
        "pattern": pattern.name,
        "faults": list(request.faults),
        "recovery": policy.name,
        "spares": spares,
        "steps": request.steps or pattern.steps,
        "net": request.network,
        "options": pattern.options | own | request.options,
        "checkpoint": checkpoint,
        "detector": request.detector or (HEARTBEAT if any(fault.kind.silent for fault in faults) else RUNTIME),
    }
    job = JobSpec(**vars(request) | made)
    _check_ranks(job, pattern)
    _check_checkpoints(job, pattern)
    _check_detector(job, pattern)
    _check_kinds(job, pattern, faults)
    pattern.check(job)
    job.events = events_of(
        faults, job.ranks, spares=spares, steps=job.steps, hosts=placement(job), groups=_groups(job),
        roles=pattern.roles(job), seed=seed, refilled=policy.refills,
    )  # fmt: skip
    if job.quorum_s is not None:
        job.events += _cut_off(job, job.quorum_s)
        consistency.check(job.events, policy.refills)
    consistency.check_recoveries(job.events, lambda when: _only_in_repair(job, when))
    if job.real_hosts:
        job.events = [_with_daemon(event, faults) for event in job.events]
    _check_roles(job, pattern)
    _check_flips(job)
    survivors.check(job, pattern)
    return job


def placement(job: JobSpec) -> list[int] | None:
    """The host of each working rank and of each spare: as requested, else from the network."""
    if job.real_hosts:
        return two_hosts.placement(job.ranks)
    if isinstance(job.hosts, int):
        return even_hosts(job.ranks, job.spares, job.hosts)
    if job.hosts is not None or job.net is None:
        return job.hosts
    network = load(job.net).sized(job.world)
    return [network.host_of(rank) for rank in range(job.world)]


def _groups(job: JobSpec) -> dict[str, list[int]]:
    """The number of each rank's rack or region, where the network's hosts are in racks or regions."""
    if job.net is None:
        return {}
    network = load(job.net).sized(job.world)
    names = [network.group_of(rank) for rank in range(job.world)]
    order = list(dict.fromkeys(names))
    return {} if None in names else {network.spec.topology.kind.removesuffix("s"): [order.index(one) for one in names]}


def even_hosts(ranks: int, spares: int, hosts: int) -> list[int]:
    """Place ranks in even blocks on `hosts` hosts; spares, which follow them, on the first.

    Raises
    ------
    UsageError
        More hosts than ranks.
    """
    if hosts > ranks:
        raise UsageError(f"a host holds at least one rank, got --hosts {hosts} for {ranks} ranks")
    return [rank * hosts // ranks for rank in range(ranks)] + [0] * spares


def check_network(net: str, ranks: int, policy: Policy | None) -> None:
    """Reject an emulated network that is too small for the ranks, spares included, or unfit for the policy.

    Parameters
    ----------
    policy : of ranks that are processes; None: of simulated ranks

    Raises
    ------
    UsageError
        No such network, too few hosts in it, or a policy that starts processes.
    """
    load(net).sized(ranks)
    if policy is not None and policy.spawns:
        able = policies.named(lambda one: one.patterns == policy.patterns and not one.spawns)
        raise UsageError(f"a process cannot be spawned into an emulated network: choose {able}")


def _check_ranks(job: JobSpec, pattern: Pattern) -> None:
    policy = job.policy
    if policy.has_spares and job.spares < 1:
        raise UsageError(
            f"--recovery {policy.name} needs at least one spare rank, got --spares {job.spares}: give --spares 1"
        )
    if job.spares and not policy.has_spares:
        able = policies.named(lambda one: one.has_spares)
        raise UsageError(
            f"--spares is only for --recovery {able}, got --spares {job.spares} with {policy.name}: leave it out"
        )
    if job.ranks < pattern.least_ranks:
        raise UsageError(f"{pattern.name} needs at least {pattern.least_ranks} ranks, got {job.ranks}: give -n more")
    if job.real_hosts and (not policy.relaunches or job.net is not None or job.hosts is not None):
        raise UsageError(
            "the loss of a real host's daemon ends the whole job: --real-hosts goes with --recovery "
            f"{policies.named(lambda one: one.relaunches)}, and without --net and --hosts"
        )
    if job.simulate:
        _check_simulated(job)
    if job.net is not None:
        check_network(job.net, job.world, None if job.simulate else policy)


def _check_simulated(job: JobSpec) -> None:
    """Reject options that simulated ranks do not support, and more ranks than fit into memory."""
    from emulator.sim.run import check_memory  # it imports MPI, which a launcher does without

    check_memory(job.world, _SIMULATED_BYTES)
    if job.checkpoint["background"]:
        raise UsageError("simulated ranks have no threads, got --background: leave it out")
    if job.failure_detector.name not in (RUNTIME, HEARTBEAT):
        raise UsageError(
            f"--detector {job.detector} is a thread of each rank, which is not simulated: choose {HEARTBEAT}"
        )


def _check_checkpoints(job: JobSpec, pattern: Pattern) -> None:
    policy, checkpoint = job.policy, job.checkpoint
    if checkpoint["levels"] and not (pattern.lockstep and policy.repairs and policy.keeps_places):
        raise UsageError(
            "--checkpoint memory,disk saves the private state of each rank for a process that replaces it: it goes "
            f"with ring and --recovery {policies.named(lambda one: one.repeats_steps and one.keeps_places)} "
            f"({policies.named(lambda one: one.relaunches)} keeps all state on disk), got {pattern.name} and "
            f"{policy.name}"
        )
    if policy.relaunches and checkpoint["every"] == 0 and checkpoint["mtbf_s"] is None:
        raise UsageError(
            "--checkpoint-every 0 finds the interval from --mtbf, got none: give --mtbf '1 h', or a number of steps"
        )
    if job.options.get("checksum") and not policy.repairs:
        raise UsageError(
            f"--checksum compares the state of which all ranks hold a copy: ring with --recovery "
            f"{policies.named(lambda one: one.repeats_steps)}, got {job.recovery}: leave it out"
        )
    if checkpoint["levels"] and job.options["agree"] == 0:
        raise UsageError(
            "--checkpoint memory,disk saves private state at each agreement: give --agree-every 1 or more, got 0"
        )


def _check_detector(job: JobSpec, pattern: Pattern) -> None:
    if job.failure_detector.among_ranks and not (pattern.lockstep and job.policy.repairs and not job.policy.spawns):
        raise UsageError(
            f"--detector {job.detector} needs a job whose processes are all started at its beginning: ring with "
            f"--recovery {policies.named(lambda one: one.repeats_steps and not one.spawns)}, got {pattern.name} with "
            f"{job.recovery}: choose {HEARTBEAT}"
        )


def _check_kinds(job: JobSpec, pattern: Pattern, faults: Sequence[Fault]) -> None:
    """Reject faults that have no effect on this job."""
    points = pattern.points_under(job.policy, job.options)
    for fault in faults:
        kind = fault.kind
        if fault.when.phase is not None and fault.when.phase not in points:
            raise UsageError(
                f"fault {fault.text!r}: {pattern.name} with --recovery {job.recovery} has the phases "
                f"{', '.join(points) or 'none'}, got {fault.when.phase!r}"
            )
        if kind.falsifies and not pattern.detects_lies:
            able = ", ".join(one.name for one in CATALOGUE.values() if one.detects_lies)
            raise UsageError(f"fault {fault.text!r}: {pattern.name} does not detect false values: choose {able}")
        if kind.told and not (job.policy.repairs or job.policy.relaunches):
            able = policies.named(lambda one: one.repairs or one.relaunches)
            raise UsageError(
                f"fault {fault.text!r}: a rank can leave at the end of a step only with ring and --recovery {able}, "
                f"got {pattern.name} and {job.recovery}"
            )
        if kind.spoils_messages and job.net is not None:
            raise UsageError(f"fault {fault.text!r} changes messages of MPI itself, got --net {job.net}: leave it out")
        if (kind.spoils_state or kind.spoils_messages) and not (pattern.lockstep and job.policy.repairs):
            raise UsageError(
                f"fault {fault.text!r} changes state of which all ranks hold a copy: ring with --recovery "
                f"{policies.named(lambda one: one.repeats_steps)}, got {pattern.name} by {job.recovery}"
            )
        if kind.needs_checkpoints and not job.on_disk:
            raise UsageError(
                f"fault {fault.text!r} needs checkpoints on disk, which --recovery {job.recovery} does not write: "
                f"choose --recovery {policies.named(lambda one: one.relaunches)} or --checkpoint memory,disk"
            )
        if kind.needs_network and job.net is None:
            raise UsageError(f"fault {fault.text!r} needs an emulated network: choose one with --net")
        if kind.needs_duration and fault.duration_s is None:
            raise UsageError(f"fault {fault.text!r}: a {kind.name} needs a duration: add 'for 200 ms'")
        if fault.when.emulated_s is not None and job.net is None:
            raise UsageError(
                f"fault {fault.text!r}: an instant of emulated time needs an emulated network: choose one with --net"
            )


def _only_in_repair(job: JobSpec, when: When) -> bool:
    """Whether the job reaches this named point only after a death."""
    if when.phase != "agree":
        return when.recovery or when.phase in job.policy.points
    every = job.options.get("agree", 1)
    due = when.step is None or when.step == job.steps - 1 or (every > 0 and (when.step + 1) % every == 0)
    return not due


def _check_roles(job: JobSpec, pattern: Pattern) -> None:
    """Reject a named point that the rank never reaches; after a death it may take over another rank's role."""
    for event in job.events:
        role = pattern.phases.get(event.when.phase or "")
        heir = any(other.kind.final and other.rank != event.rank for other in job.events)
        if role and not heir and event.rank not in pattern.roles(job)[role]:
            raise UsageError(
                f"fault {event.text!r}: phase {event.when.phase} of {pattern.name} is the {role}'s, and rank "
                f"{event.rank} is none: name one of {', '.join(map(str, pattern.roles(job)[role]))}, or {role!r}"
            )


def _check_flips(job: JobSpec) -> None:
    """Reject flips at ranks without state, and flips that leave no majority of ranks with the right state."""
    flips = [event for event in job.events if event.kind.spoils_state or event.kind.spoils_messages]
    for event in flips:
        together = {other.rank for other in flips if other.when == event.when and other.kind.spoils_state}
        if event.rank >= job.ranks:
            raise UsageError(
                f"fault {event.text!r}: rank {event.rank} waits, and holds no state: name one of 0 to {job.ranks - 1}"
            )
        if job.options.get("checksum") and 2 * len(together) >= job.ranks:
            raise UsageError(
                f"fault {event.text!r}: checksums tell which state is right by a majority of ranks, and "
                f"{len(together)} of {job.ranks} would have another one: flip fewer, or give -n more"
            )


def _cut_off(job: JobSpec, limit_s: float) -> list[Event]:
    """Make an event for each rank that stops because a cut longer than `limit_s` leaves it without a quorum.

    Raises
    ------
    UsageError
        A cut whose two sides are not all living ranks: some would reach both.
    """
    cuts = [event for event in job.events if event.kind.two_sides and not event.one_way]
    found = []
    for event in cuts:
        if (event.duration_s or 0.0) <= limit_s:
            continue
        gone = {
            one.rank for one in job.events if one.surely_ends_rank and (one.when.step or 0) < (event.when.step or 0)
        }
        members = set(range(job.world)) - gone
        mine, others = set(event.side) & members, set(event.others) & members
        if mine | others != members:
            raise UsageError(
                f"fault {event.text!r}: --quorum is for a cut into two sides, and ranks "
                f"{', '.join(map(str, sorted(members - mine - others)))} are on none: name them"
            )
        if event.rank in members and not has_quorum(mine if event.rank in mine else others, members):
            found.append(replace(event, ident=f"{event.ident}-off", kind=KINDS["cut-off"], duration_s=None))
    return found


def _with_daemon(event: Event, faults: Sequence[Fault]) -> Event:
    """Mark a host failure so that the daemon (prted) of a real host is killed as well."""
    fault = faults[int(event.ident.partition(".")[0])]
    if not fault.kind.whole_host or not fault.target.hosts:
        return event
    if event.when.step is None or event.when.phase is not None or event.when.offset_s:
        raise UsageError(f"fault {fault.text!r}: a real host is lost at the beginning of a step: kill host 1 @ step 20")
    return replace(event, daemon=True)
