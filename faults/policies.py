"""The recovery policies: how a job goes on after the death of a rank, and the properties of each policy.

Code that depends on a policy reads its attributes; names are never compared. A new policy is an entry in
`POLICIES` and the mechanism that carries it out (`faults.recover`). No MPI in here: every rank and every launcher
imports this module.
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.errors import Registry


@dataclass(frozen=True)
class Policy:
    """A recovery policy.

    Attributes
    ----------
    about : what happens after a death, in words
    needs_ulfm : the job goes on when a rank dies, which MPI must support; without it the first death is to end the job
    relaunches : the launcher starts the job again, from its last checkpoint on disk
    repairs : the survivors agree on the live ranks, rebuild the communicator and go back to a common step. Under other
        policies the algorithm leaves the dead out, or the job starts again.
    refills : another process takes the place of a dead rank, so that later faults can hit that place again
    has_spares : ranks wait from the start to take the places of the dead
    spawns : new processes are started to take the places of the dead
    later : the survivors go on first, and the new processes take the places at the end of a later step
    replicas : copies of what a server holds
    points : named points of the recovery at which a fault can strike, beside those of the algorithm
    call : the call for a user's program; empty for ``faults.recovering``, which takes the policy's name
    patterns : the patterns of `faults.patterns.catalogue` that recover by it
    """

    name: str
    about: str
    needs_ulfm: bool = True
    relaunches: bool = False
    repairs: bool = False
    refills: bool = False
    has_spares: bool = False
    spawns: bool = False
    later: bool = False
    replicas: int = 1
    points: tuple[str, ...] = ()
    call: str = ""
    patterns: tuple[str, ...] = ("ring",)

    @property
    def keeps_places(self) -> bool:
        """Whether every step is done by as many ranks as the job began with."""
        return self.refills and not self.later


_SURVIVORS_GO_ON = ("agree", "rebuild", "shrink", "replay")  # without new ranks no state is restored

POLICIES = Registry(
    "a policy",
    Policy("shrink", "the survivors go on with fewer ranks", repairs=True, points=_SURVIVORS_GO_ON),
    Policy(
        "spare", "a rank that waited takes the place", repairs=True, refills=True, has_spares=True,
        points=("agree", "rebuild", "spare", "restore", "replay"),
    ),
    Policy(
        "respawn", "a new process takes the place", repairs=True, refills=True, spawns=True,
        points=("agree", "rebuild", "respawn", "restore", "replay"),
    ),
    Policy(
        "restart", "the whole job starts again from its last checkpoint", needs_ulfm=False, relaunches=True,
        refills=True,
        call="faults.restarting(comm, state, folder), started by python -m faults run --recovery restart",
    ),
    Policy(
        "continue", "the algorithm leaves the dead out",
        call="faults.routing(comm) and an algorithm that leaves the dead out",
        patterns=("parameter-server", "gossip", "federated"),
    ),
    Policy(
        "replicate", "the server that holds the copy takes over", replicas=2,
        call="faults.routing(comm) and a ParameterServer with replicas=2 and on_failure=route.look",
        patterns=("parameter-server",),
    ),
    Policy(
        "reexecute", "other ranks do the tasks of the dead again", repairs=True, points=_SURVIVORS_GO_ON,
        call="faults.reexecute(job.comm, ...) in a step under policy 'shrink'", patterns=("scatter-gather",),
    ),
    Policy(
        "rejoin", "the survivors go on, and a new process takes the place later", repairs=True, refills=True,
        spawns=True, later=True, points=("agree", "rebuild", "rejoin", "restore", "replay"),
    ),
)  # fmt: skip
of = POLICIES.of


def of_pattern(pattern: str) -> tuple[str, ...]:
    """Names of a pattern's policies, its default first."""
    return tuple(policy.name for policy in POLICIES.values() if pattern in policy.patterns)
