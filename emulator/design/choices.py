"""The patterns and the recovery policies that a sheet may name, and the properties of each.

Code that depends on a pattern or a policy reads its attributes; names are never compared. A new one is an entry here,
with its price in `emulator.design.prices.communication` (pattern) or `emulator.design.prices.failures` (policy).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Pattern:
    """A way to exchange a state part or a task.

    Attributes
    ----------
    tool, options : what it is in production tools, and the names of their options
    policies : the recovery policies that it has; the drills of `faults` run them, restart goes with every pattern
    sums : every node takes part in a sum, so that its policies are those of the whole job
    servers : servers hold the part
    graph : nodes exchange with their neighbours in a graph
    requests : a coordinator asks nodes and gathers their answers
    rounds : a coordinator sends its model to nodes and averages theirs
    robust : values are combined one beside the other, by a rule that can leave out those of liars
    hurries : what it can do about a slow node without waiting for it
    """

    name: str
    tool: str
    options: str
    policies: tuple[str, ...]
    sums: bool = False
    servers: bool = False
    graph: bool = False
    requests: bool = False
    rounds: bool = False
    robust: bool = False
    hurries: tuple[str, ...] = ()

    @property
    def coordinator(self) -> bool:
        """Whether one rank does not compute and hears all others."""
        return self.requests or self.rounds

    @property
    def waits_for_all(self) -> bool:
        """Whether an exchange ends when all nodes have taken part, whatever the consistency."""
        return not (self.servers or self.graph)


PATTERNS = {
    pattern.name: pattern
    for pattern in (
        Pattern(
            "all-reduce", "PyTorch DistributedDataParallel over NCCL", "bucket_cap_mb; NCCL_ALGO=Ring|Tree",
            ("restart", "shrink", "spare", "respawn"), sums=True,
        ),
        Pattern(
            "parameter-server", "TorchRec, Persia or ps-lite", "ShardingType.ROW_WISE; DMLC_NUM_SERVER",
            ("restart", "replicate", "continue"), servers=True,
        ),
        Pattern(
            "gossip", "Decentralised SGD in bluefog; SWIM in hashicorp/memberlist",
            "neighbor_allreduce, dynamic topology; GossipInterval, GossipNodes", ("restart", "continue"), graph=True,
            robust=True,
        ),
        Pattern(
            "scatter-gather", "Ray tasks, Spark, Elasticsearch or Milvus query nodes",
            "ray.wait(num_returns=...); spark.speculation; allow_partial_search_results",
            ("restart", "reexecute", "replicate"), requests=True, hurries=("backup", "quorum", "drop"),
        ),
        Pattern(
            "federated", "Flower, NVIDIA FLARE", "fraction_fit, min_fit_clients, round_timeout",
            ("restart", "continue"), rounds=True, robust=True, hurries=("quorum", "drop"),
        ),
    )
}  # fmt: skip

HURRIES = tuple(dict.fromkeys(way for pattern in PATTERNS.values() for way in pattern.hurries))
"""What is done about stragglers by patterns that can go on without a slow node."""


@dataclass(frozen=True, eq=False)
class Policy:
    """A way to go on after a node has failed, and what it costs.

    Attributes
    ----------
    tool, options : what it is in production tools, and the names of their options
    seconds : median from a death to the interrupted step's end, detection included, of 16 ranks with a small state on
        one machine (README and docs/faults.md); the transfer of a large state is priced beside it
    of_launch : seconds of a recovery over those of the launch, without the steps done again
    again : steps done again on that machine: the interrupted one, and the one before that not all have committed
    repeats : the price has the interrupted step; not that of a restart, which goes back to a checkpoint
    refills : another process takes the place of the dead one, and gets its state
    spawns : that process is started anew
    spares, replicas : it has nodes that wait, or copies of what a server or a shard holds
    keeps_tasks : tasks are done again from inputs that are kept, or what the dead one had is on other nodes as well
    goes_back : the whole job goes back to a checkpoint
    """

    name: str
    tool: str
    options: str
    seconds: float
    of_launch: float
    again: int = 2
    repeats: bool = False
    refills: bool = False
    spawns: bool = False
    spares: bool = False
    replicas: bool = False
    keeps_tasks: bool = False
    goes_back: bool = False


POLICIES = {
    policy.name: policy
    for policy in (
        Policy(
            "restart", "torchrun with PyTorch DCP checkpoints, Slurm --requeue", "--max-restarts; dcp.async_save",
            2.9, 1.06, refills=True, goes_back=True,
        ),
        Policy(
            "shrink", "torchrun elastic, torchft", "--nnodes=MIN:MAX; min_replica_size", 0.076, 0.02, repeats=True,
        ),
        Policy(
            "spare", "Slurm with spare nodes, Kubernetes Kueue", "--nodes=N+SPARES; standby replicas", 0.138, 0.043,
            repeats=True, refills=True, spares=True,
        ),
        Policy(
            "respawn", "Kubernetes or Ray actors that are started again", "max_restarts, max_task_retries", 0.49, 0.056,
            repeats=True, refills=True, spawns=True,
        ),
        Policy(
            "replicate", "replicated servers, Milvus replicas", "replica_number; anti-affinity of hosts", 0.034, 0.0096,
            again=0, replicas=True,
        ),
        Policy(
            "reexecute", "Ray or Spark tasks that are tried again", "max_retries; spark.task.maxFailures", 0.044,
            0.0133, repeats=True, keeps_tasks=True,
        ),
        Policy(
            "continue", "Flower clients that drop out, gossip neighbours that fall silent", "accept_failures=True",
            0.02, 0.0044, again=0, keeps_tasks=True,
        ),
    )
}  # fmt: skip
