"""Draw the launches of a soak, each from (seed, number), so that a failed one can be repeated alone.

ring by shrink, spare    a melt-down: up to all ranks but one die, at steps with microsecond offsets, at named points
                         inside the all-reduce, in the agreement and in the repair, and when a recovery begins; in
                         jobs that agree after every step or every few, and in jobs that do not
ring by respawn, restart deaths one after the other, of ranks that may have been replaced before; by rejoin, of others
other patterns           as many deaths as the policy survives

With ballast the messages are long, and deaths meet ranks in the middle of sending or receiving them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from emulator.errors import UsageError
from emulator.policies import POLICIES, Policy
from emulator.units import format_size
from faults.drill.request import Request
from faults.drill.resolution import check_network
from faults.patterns.catalogue import CATALOGUE, Pattern, check_names
from faults.patterns.work import loaded

RING = "ring"
USUAL = tuple((RING, one.name) for one in POLICIES.values() if one.repeats_steps and not one.spawns)
STEPS = 60
_MARGIN = 12  # steps at the end in which nothing begins, so that everything fires
_LATEST_US = 10_000  # death after the beginning of a step
_POINTS = ("reduce_scatter", "all_gather", "agree", "rebuild")
_FEWEST, _FEWEST_WITH_ROLES = 2, 4
_MOST_SPARES = 2

Job = tuple[str, str]
"""A pattern and a policy of it."""


@dataclass(frozen=True)
class Trial:
    """One launch of a soak, with its faults."""

    number: int
    request: Request

    @property
    def text(self) -> str:
        of = self.request
        agree, ballast = of.options.get("agree"), of.options["ballast"]
        parts = [f"trial {self.number}: {of.pattern} by {of.recovery}"]
        parts.append(f"{of.ranks} ranks" + (f" and {of.spares} spare{'s' * (of.spares > 1)}" if of.spares else ""))
        parts += [f"agreements every {agree}"] if agree else []
        parts += [f"over {of.net}"] if of.net else []
        parts += [f"ballast {format_size(ballast)}"] if ballast else []
        return ", ".join(parts)


def jobs(patterns: Sequence[str], policies: Sequence[str], base: Request) -> tuple[Job, ...]:
    """List the pairs of the chosen patterns and policies; without a choice those of `USUAL`.

    Parameters
    ----------
    base : with the most ranks of a job, and the network

    Raises
    ------
    UsageError
        An unknown name, a choice without any job, too few ranks for one, or a network that cannot carry it.
    """
    check_names("pattern", patterns, CATALOGUE)
    check_names("policy", policies, POLICIES)
    usual = {RING: tuple(policy for _, policy in USUAL)}
    found = tuple(
        (pattern, policy)
        for pattern in patterns or (RING,)
        for policy in CATALOGUE[pattern].policies
        if policy in (policies or usual.get(pattern, CATALOGUE[pattern].policies))
    )
    if not found:
        has = "; ".join(f"{name} recovers by {', '.join(CATALOGUE[name].policies)}" for name in patterns or (RING,))
        raise UsageError(f"no pattern of these has one of the policies {', '.join(policies)}: {has}")
    fewest = _FEWEST if all(CATALOGUE[pattern].lockstep for pattern, _ in found) else _FEWEST_WITH_ROLES
    if base.ranks < fewest:
        raise UsageError(f"the largest job of these has at least {fewest} ranks, got --most-ranks {base.ranks}")
    if base.net is not None:
        for _, policy in found:
            check_network(base.net, base.ranks + _MOST_SPARES, None if base.simulate else POLICIES[policy])
    return found


def draw(base: Request, number: int, chosen: Sequence[Job] = USUAL) -> Trial:
    """Draw trial `number` of the seed of `base`: `base` with at most as many ranks, and faults."""
    dice = random.Random(f"soak/{base.seed}/{number}")
    ranks = dice.randint(min(6, base.ranks), base.ranks)
    pattern, recovery = dice.choice(chosen)
    plan, policy, ballast = CATALOGUE[pattern], POLICIES[recovery], base.options.get("ballast", 0)
    spares = dice.randint(1, _MOST_SPARES) if policy.has_spares else 0
    agree = dice.choice((0, 0, 1, 3)) if plan.lockstep and policy.repairs else 0
    if not plan.lockstep:
        lines = _scattered(dice, plan, policy, ranks, ballast)
    elif policy.refills and not policy.has_spares:
        lines = _one_by_one(dice, policy, ranks, _latest_us(1000, ballast))
    else:
        lines = _melt_down(dice, policy, ranks, agree, _latest_us(3000, ballast))
    options = {"ballast": ballast} | ({"agree": agree} if plan.lockstep else {})
    request = replace(
        base, pattern=pattern, recovery=recovery, ranks=ranks, spares=spares, faults=lines, steps=STEPS,
        options=options, stall_s=30.0,
    )  # fmt: skip
    return Trial(number, request)


def _melt_down(dice: random.Random, policy: Policy, ranks: int, agree: int, latest_us: int) -> list[str]:
    victims = dice.sample(range(ranks), dice.randint(ranks // 2, ranks - 1))
    # What waits for a recovery needs a death that does not.
    waits = not policy.refills
    lines = [_line(dice, rank, agree, latest_us, may_wait=waits and rank != victims[0]) for rank in victims]
    if policy.has_spares:
        # The first to die, alone, is replaced for certain: its successor dies as well.
        lines[0] = f"kill {victims[0]} @ step 2"
        lines.append(f"kill {victims[0]} @ step {dice.randint(10, STEPS - _MARGIN)}")
    return lines


def _line(dice: random.Random, rank: int, agree: int, latest_us: int, may_wait: bool) -> str:
    step = dice.randint(5, STEPS - _MARGIN)
    offset = f"+ {dice.randint(1, latest_us)} us"
    kind = dice.random() * (1.0 if may_wait else 0.85)
    if kind < 0.6:
        return f"kill {rank} @ step {step} {offset}"
    if kind < 0.85:
        # The agreement is at a known step only where there is one in every step.
        point = dice.choice(_POINTS[: 3 if agree == 1 else 2])
        return f"kill {rank} @ step {step} phase {point} + {dice.randint(0, 500)} us"
    if kind < 0.95:
        return f"kill {rank} @ recovery {offset}"
    return f"kill {rank} @ phase {_POINTS[3] if agree else dice.choice(_POINTS[2:])}"


def _one_by_one(dice: random.Random, policy: Policy, ranks: int, latest_us: int) -> list[str]:
    """Draw deaths so far apart that the job is complete at each: a fault at a dead rank does not fire.

    Where the living do not wait for the new process, it may come after the next death: no rank dies twice.
    """
    most = min(3, ranks - 1) if policy.later else 3
    steps = sorted(dice.sample(range(5, STEPS - _MARGIN, 10), dice.randint(1, most)))
    victims = dice.sample(range(ranks), len(steps)) if policy.later else [dice.randrange(ranks) for _ in steps]
    return [
        f"kill {rank} @ step {step} + {dice.randint(1, latest_us)} us"
        for rank, step in zip(victims, steps, strict=True)
    ]


def _scattered(dice: random.Random, plan: Pattern, policy: Policy, ranks: int, ballast: int) -> list[str]:
    first, most = plan.losses(policy, ranks)
    victims = dice.sample(range(first, ranks), dice.randint(1, most))
    if policy.replicas > 1 and dice.random() < 0.5:
        victims.append(dice.randrange(policy.replicas))  # one of the servers
    steps = [step for step in range(5, STEPS - _MARGIN + 1) if not ballast or loaded(ballast, step)]
    latest_us = _latest_us(300, ballast)
    return [f"kill {rank} @ step {dice.choice(steps)} + {dice.randint(1, latest_us)} us" for rank in victims]


def _latest_us(usual: int, ballast: int) -> int:
    """The largest offset (us) of a death within its step; a rank is taken to send at least 100 bytes per us."""
    return max(usual, min(ballast // 100, _LATEST_US))
