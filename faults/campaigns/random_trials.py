"""The launches of a soak, each drawn from (seed, number), so that a failed one can be run again by itself.

ring by shrink, spare    a melt-down: up to all ranks but one die, at steps with microsecond offsets, at named points
                         inside the all-reduce, in the agreement and in the repair, and when a recovery begins; in
                         jobs that agree after every step or every few, and in jobs that do not
ring by respawn, restart deaths one after the other, of ranks that may have been replaced before
other patterns           as many deaths as the policy bears

With ballast the messages are long, and deaths meet ranks in the middle of sending or receiving them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from emulator.errors import UsageError
from emulator.units import format_size
from faults.drill.request import Order, check_network
from faults.patterns.catalogue import CATALOGUE, check_names
from faults.patterns.work import loaded
from faults.plan import parse

RING = "ring"
USUAL = ((RING, "shrink"), (RING, "spare"))
STEPS = 60
_MARGIN = 12  # steps at the end in which nothing begins, so that everything fires
_LATEST_US = 10_000  # death after the beginning of a step
_POINTS = ("reduce_scatter", "all_gather", "agree", "rebuild")
_FEWEST, _FEWEST_WITH_ROLES = 2, 4
_MOST_SPARES = 2
_GRAPH_BEARS = 3  # neighbours of a gossip's random graph that may be gone before somebody can be cut off

Job = tuple[str, str]
"""A pattern and a policy of it."""


@dataclass(frozen=True)
class Trial:
    """One launch of a soak: ranks, spares, policy, steps between agreements (0: none before a death), fault lines."""

    number: int
    pattern: str
    recovery: str
    ranks: int
    spares: int
    agree: int
    lines: tuple[str, ...]
    net: str | None = None
    ballast: int = 0

    @property
    def text(self) -> str:
        spares = f" and {self.spares} spares" if self.spares else ""
        agree = f", agreements every {self.agree}" if self.agree else ""
        net = f", over {self.net}" if self.net else ""
        ballast = f", ballast {format_size(self.ballast)}" if self.ballast else ""
        return (
            f"trial {self.number}: {self.pattern} by {self.recovery}, {self.ranks} ranks{spares}{agree}{net}{ballast}"
        )

    def order(self, seed: int) -> Order:
        options = {"ballast": self.ballast} | ({"agree": self.agree} if self.pattern == RING else {})
        return Order(
            self.pattern, self.ranks, [parse(line) for line in self.lines], self.recovery, self.spares, steps=STEPS,
            seed=seed, options=options, net=self.net, stall_s=30.0, deadline_s=120.0,
        )  # fmt: skip


def jobs(
    patterns: Sequence[str] = (), policies: Sequence[str] = (), most_ranks: int = 16, net: str | None = None
) -> tuple[Job, ...]:
    """What to soak: the chosen patterns by the chosen policies, and where none is chosen what is usual.

    Raises
    ------
    UsageError
        An unknown name, a choice without any job, too few ranks for one, or a network that cannot carry it.
    """
    check_names("pattern", patterns, CATALOGUE)
    check_names("policy", policies, [policy for plan in CATALOGUE.values() for policy in plan.policies])
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
    fewest = _FEWEST if all(pattern == RING for pattern, _ in found) else _FEWEST_WITH_ROLES
    if most_ranks < fewest:
        raise UsageError(f"the largest job of these has at least {fewest} ranks, got --most-ranks {most_ranks}")
    if net is not None:
        for _, policy in found:
            check_network(net, most_ranks + _MOST_SPARES, policy)
    return found


def draw(
    seed: int,
    number: int,
    most_ranks: int = 16,
    chosen: Sequence[Job] = USUAL,
    net: str | None = None,
    ballast: int = 0,
) -> Trial:
    """The trial of that number, with so many bytes that travel beside the work."""
    dice = random.Random(f"soak/{seed}/{number}")
    ranks = dice.randint(min(6, most_ranks), most_ranks)
    pattern, recovery = dice.choice(chosen)
    spares = dice.randint(1, _MOST_SPARES) if recovery == "spare" else 0
    agree = dice.choice((0, 0, 1, 3)) if pattern == RING and recovery != "restart" else 0
    if pattern != RING:
        lines = _scattered(dice, pattern, recovery, ranks, ballast)
    elif recovery in ("respawn", "restart"):
        lines = _one_by_one(dice, ranks, _latest_us(1000, ballast))
    else:
        lines = _melt_down(dice, recovery, ranks, agree, _latest_us(3000, ballast))
    return Trial(number, pattern, recovery, ranks, spares, agree, tuple(lines), net, ballast)


def _melt_down(dice: random.Random, recovery: str, ranks: int, agree: int, latest_us: int) -> list[str]:
    victims = dice.sample(range(ranks), dice.randint(ranks // 2, ranks - 1))
    # What waits for a recovery needs a death that does not.
    waits = recovery == "shrink"
    lines = [_line(dice, rank, agree, latest_us, may_wait=waits and rank != victims[0]) for rank in victims]
    if recovery == "spare":
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


def _one_by_one(dice: random.Random, ranks: int, latest_us: int) -> list[str]:
    """So far apart that each meets a whole job: what dies with others before its instant would never have fired."""
    steps = sorted(dice.sample(range(5, STEPS - _MARGIN, 10), dice.randint(1, 3)))
    return [f"kill {dice.randrange(ranks)} @ step {step} + {dice.randint(1, latest_us)} us" for step in steps]


def _scattered(dice: random.Random, pattern: str, recovery: str, ranks: int, ballast: int) -> list[str]:
    if pattern == "parameter-server" and recovery == "replicate":
        first, most = 2, ranks - 3
    elif pattern == "gossip":
        first, most = 0, min(_GRAPH_BEARS, ranks - 2)
    elif pattern == "scatter-gather":
        first, most = 0, ranks - 2
    elif pattern == "federated":
        first, most = 1, (ranks - 1) // 2
    else:
        first, most = 1, ranks - 2
    victims = dice.sample(range(first, ranks), dice.randint(1, most))
    if recovery == "replicate" and dice.random() < 0.5:
        victims.append(dice.randrange(2))  # one of the two servers
    steps = [step for step in range(5, STEPS - _MARGIN + 1) if not ballast or loaded(ballast, step)]
    latest_us = _latest_us(300, ballast)
    return [f"kill {rank} @ step {dice.choice(steps)} + {dice.randint(1, latest_us)} us" for rank in victims]


def _latest_us(usual: int, ballast: int) -> int:
    """Within a step, or soon after it: to carry 100 bytes takes a rank about a microsecond at most."""
    return max(usual, min(ballast // 100, _LATEST_US))
