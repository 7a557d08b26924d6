"""The recovery policies: how a job goes on after the death of a rank, their properties and measured costs.

Code that depends on a policy reads its attributes; names are never compared, and messages list policies by `named`. A
new policy is an entry in `POLICIES` and the mechanism that carries it out (`faults.recover`); with an entry in
`MEASURED` a design sheet may name it. Every rank and every launcher imports this module.
"""

from __future__ import annotations

from collections.abc import Callable
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
    keeps_tasks : tasks are done again from inputs that are kept, or what the dead one had is on other nodes as well
    tool, options : what it is in production tools, and the names of their options
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
    keeps_tasks: bool = False
    tool: str = ""
    options: str = ""
    call: str = ""
    patterns: tuple[str, ...] = ("ring",)

    @property
    def keeps_places(self) -> bool:
        """Whether every step is done by as many ranks as the job began with."""
        return self.refills and not self.later

    @property
    def repeats_steps(self) -> bool:
        """Whether `faults.recovering` carries out this policy, and so repeats the interrupted step."""
        return self.repairs and not self.call


_SURVIVORS_GO_ON = ("agree", "rebuild", "shrink", "replay")  # without new ranks no state is restored

POLICIES = Registry(
    "a policy",
    Policy(
        "shrink", "the survivors go on with fewer ranks", repairs=True, points=_SURVIVORS_GO_ON,
        tool="torchrun elastic, torchft", options="--nnodes=MIN:MAX; min_replica_size",
    ),
    Policy(
        "spare", "a rank that waited takes the place", repairs=True, refills=True, has_spares=True,
        points=("agree", "rebuild", "spare", "restore", "replay"),
        tool="Slurm with spare nodes, Kubernetes Kueue", options="--nodes=N+SPARES; standby replicas",
    ),
    Policy(
        "respawn", "a new process takes the place", repairs=True, refills=True, spawns=True,
        points=("agree", "rebuild", "respawn", "restore", "replay"),
        tool="Kubernetes or Ray actors that are started again", options="max_restarts, max_task_retries",
    ),
    Policy(
        "restart", "the whole job starts again from its last checkpoint", needs_ulfm=False, relaunches=True,
        refills=True,
        tool="torchrun with PyTorch DCP checkpoints, Slurm --requeue", options="--max-restarts; dcp.async_save",
        call="faults.restarting(comm, state, folder), started by python -m faults run --recovery restart",
    ),
    Policy(
        "continue", "the algorithm leaves the dead out", keeps_tasks=True,
        tool="Flower clients that drop out, gossip neighbours that fall silent", options="accept_failures=True",
        call="faults.routing(comm) and an algorithm that leaves the dead out",
        patterns=("parameter-server", "gossip", "federated"),
    ),
    Policy(
        "replicate", "the server that holds the copy takes over", replicas=2,
        tool="replicated servers, Milvus replicas", options="replica_number; anti-affinity of hosts",
        call="faults.routing(comm) and a ParameterServer with replicas=2 and on_failure=route.look",
        patterns=("parameter-server",),
    ),
    Policy(
        "reexecute", "other ranks do the tasks of the dead again", repairs=True, points=_SURVIVORS_GO_ON,
        keeps_tasks=True,
        tool="Ray or Spark tasks that are tried again", options="max_retries; spark.task.maxFailures",
        call="faults.reexecute(job.comm, ...) in a step under policy 'shrink'", patterns=("scatter-gather",),
    ),
    Policy(
        "rejoin", "the survivors go on, and a new process takes the place later", repairs=True, refills=True,
        spawns=True, later=True, points=("agree", "rebuild", "rejoin", "restore", "replay"),
    ),
)  # fmt: skip
of = POLICIES.of


@dataclass(frozen=True)
class Recovery:
    """The measured times of a recovery.

    Attributes
    ----------
    seconds : median from a death to the interrupted step's end, detection included, with a small state
    of_launch : seconds of it over those of the launch, without the steps done again
    again : steps done again: the interrupted one, and the one before it, which not all ranks had committed
    """

    seconds: float
    of_launch: float
    again: int = 2


MEASURED = {
    "shrink": Recovery(76e-3, 0.02), "spare": Recovery(138e-3, 0.043), "respawn": Recovery(0.49, 0.056),
    "restart": Recovery(2.9, 1.06), "continue": Recovery(20e-3, 0.0044, again=0),
    "replicate": Recovery(34e-3, 0.0096, again=0), "reexecute": Recovery(44e-3, 0.0133),
}  # fmt: skip
"""What drills on `MACHINE` have measured; docs/faults.md tells how."""
MACHINE = "16 ranks on one machine with 2 cores and steps of 11 ms, docs/faults.md"


def named(has: Callable[[Policy], bool]) -> str:
    """The names of the policies with a property, as text: "spare, respawn or restart"."""
    *others, last = (policy.name for policy in POLICIES.values() if has(policy))
    return f"{', '.join(others)} or {last}" if others else last


def of_pattern(pattern: str) -> tuple[str, ...]:
    """Names of a pattern's policies, its default first."""
    return tuple(policy.name for policy in POLICIES.values() if pattern in policy.patterns)
