"""The cost of node failures under each policy: the share of time without progress.

A job of N nodes meets a failure every M = mtbf / N; a node is away for repair/(mtbf + repair) of the time. To first
order, with R the seconds of detection and recovery, T a step, and tau the interval of checkpoints that cost C:

    restart     C/tau + (tau/2 + R + state beta)/M + away
    shrink      (R + T)/M + away
    spare       (R + T + state beta)/M, and the loss of a node for each failure beyond the spares
    respawn     (R + T + state beta)/M                      a new node takes the place at once
    replicate   R/M + away                                  double writes are in the communication
    reexecute   (R + T)/M + away
    continue    R/M + away

Where a state part has a single copy (shards of the nodes, servers without replicas), a policy other than restart needs
checkpoints beside it. Sources: Young (1974) and Daly (2006) for the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.costs import checkpoints
from emulator.design.choices import POLICIES
from emulator.design.model import DISK, Design, Facts
from emulator.design.sheets.tables import State
from emulator.policies import MEASURED

Array = NDArray[np.float64]

_LEAST_CHECKPOINT = 8.5e-3  # seconds of a small state's checkpoint, docs/faults.md


def checkpoint_cost(facts: Facts, memory: Array) -> Array:
    """Seconds of one checkpoint: given or measured, else the fullest node's bytes at 1 GB/s."""
    if facts.checkpoint is not None:
        return np.full(memory.shape, facts.checkpoint)
    return np.maximum(_LEAST_CHECKPOINT, memory / DISK)


def recovery_cost(facts: Facts, design: Design) -> float:
    """Seconds from a death to the end of the interrupted step, without the transfer of a large state."""
    return MEASURED[design.policy].seconds if facts.recovery is None else facts.recovery


@dataclass(frozen=True)
class Machine:
    """What a failure-free job shows of a machine: its ranks, seconds to start them, seconds of a step."""

    ranks: int
    launch: float
    step: float


_ONE_PROCESS = 1.5


def recovery_on(machine: Machine, policy: str) -> float:
    """Seconds of a recovery on one machine with more ranks than cores.

    All of it is the turns of n processes on few cores, as the launch is, so that it takes a share of the launch's time;
    a respawned process takes one and a half times its own share beside it. Ranks that go on without the dead one, or
    with its replica, do no step again.
    The shares are those of docs/faults.md without the steps done again: on two machines that start 16 ranks in 1.4 s
    and 2.7 s they give shrink 36 and 76 ms, spare 68 and 138 ms, respawn 217 and 425 ms, restart 1.49 and 2.88 s; for
    8 ranks that start in 5.7 s and 6.7 s, continue 25 and 29 ms where 28 and 33 ms were measured.
    """
    its = MEASURED[policy]
    share = its.of_launch + (_ONE_PROCESS / machine.ranks if POLICIES[policy].spawns else 0.0)
    return share * machine.launch + its.again * machine.step


def intervals(facts: Facts, design: Design, p: NDArray[np.int64], memory: Array) -> Array:
    """Daly's checkpoint interval in seconds for every p, or the design's own."""
    if design.interval is not None:
        return np.full(p.shape, design.interval)
    return daly(facts, design, p, memory)


def daly(facts: Facts, design: Design, p: NDArray[np.int64], memory: Array) -> Array:
    """Daly's interval in seconds, also where the design gives one; infinite without failures."""
    if facts.job.mtbf is None:
        return np.full(p.shape, np.inf)
    return checkpoints.daly(checkpoint_cost(facts, memory), facts.job.mtbf / (p + design.servers))


def needs_checkpoints(facts: Facts, design: Design) -> bool:
    """Whether a failure may lose state that no living node holds."""
    policy = POLICIES[design.policy]
    if policy.relaunches:
        return True
    held = {design.holder(part) for flow in design.flows if isinstance(part := facts.parts[flow.of], State)}
    if design.replicas:
        return False
    # Tasks are done again from inputs that are kept, and gossip's replicas are on every node.
    return "servers" in held or ("shards" in held and not policy.keeps_tasks)


def waste(facts: Facts, design: Design, p: NDArray[np.int64], step: Array, memory: Array) -> Array:
    """Share of time lost to failures for every p, at most 1; 0 if nodes do not fail."""
    job = facts.job
    if job.mtbf is None:
        return np.zeros(p.shape)
    between = job.mtbf / (p + design.servers)
    recovery = recovery_cost(facts, design)
    moved = memory * facts.beta
    away = job.repair / (job.mtbf + job.repair)  # share of the time that a node is not there
    policy = POLICIES[design.policy]
    lost = (recovery + policy.repairs * step + policy.refills * moved) / between
    if policy.has_spares:
        lost = lost + np.maximum(0.0, job.repair / between - design.spares) / p
    elif not policy.spawns:
        lost = lost + away
    if needs_checkpoints(facts, design):
        interval = intervals(facts, design, p, memory)
        lost = lost + checkpoint_cost(facts, memory) / interval + interval / 2 / between
    return np.minimum(1.0, lost)
