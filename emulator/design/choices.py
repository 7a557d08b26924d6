"""The patterns and the recovery policies that a sheet may name, and the properties of each.

Code that depends on a pattern or a policy reads its attributes; names are never compared. A new pattern is an entry
here, with its price in `emulator.design.prices.communication` (pattern) or `emulator.design.prices.failures` (policy).
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator import policies
from emulator.errors import Registry


@dataclass(frozen=True, eq=False)
class Pattern:
    """A pattern that exchanges a state part or runs a task.

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
        """Whether one rank does not compute and communicates with all others."""
        return self.requests or self.rounds

    @property
    def waits_for_all(self) -> bool:
        """Whether an exchange ends when all nodes have taken part, under every consistency."""
        return not (self.servers or self.graph)


PATTERNS = Registry(
    "a pattern",
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
)  # fmt: skip

HURRIES = tuple(dict.fromkeys(way for pattern in PATTERNS.values() for way in pattern.hurries))
"""What is done about stragglers by patterns that can go on without a slow node."""


POLICIES = Registry("a policy", *map(policies.of, policies.MEASURED))
"""The recovery policies that a sheet may name: those that it can price."""
