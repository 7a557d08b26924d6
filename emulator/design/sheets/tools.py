"""The production tools and option names for a filled slot; and a script that times the step."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.design.choices import POLICIES
from emulator.design.model import Design, Facts
from emulator.design.prices import communication
from emulator.design.sheets.tables import State

_SHARDS = ("PyTorch FSDP2 or Megatron-LM tensor parallelism", "fully_shard(mesh=...); --tensor-model-parallel-size")
_MODELS = {
    "synchronous": ("the collective itself", "barrier at every step"),
    "bounded": ("DiLoCo in torchft, or a stale-synchronous server", "sync_every; staleness bound"),
    "asynchronous": ("asynchronous push and pull", "no bound: watch the loss"),
}
_SHARDINGS = {
    "even": ("equal shares by index", "DistributedSampler(drop_last=True); split_dataset_by_node"),
    "hash": ("hash partitioning of Spark, Cassandra or Milvus", "HashPartitioner; num_tokens; num_partitions"),
    "range": ("range partitioning of Spark or HBase", "repartitionByRange; hbase.hregion.max.filesize"),
    "dynamic": ("tasks that idle workers pull in Ray, Dask or Spark", "ray.util.ActorPool; worker-saturation"),
}  # fmt: skip
_STRAGGLERS = {
    "none": ("every node is waited for", "-"),
    "backup": ("Spark speculation, backup requests", "spark.speculation.multiplier"),
    "quorum": ("partial results", "allow_partial_search_results; ray.wait(num_returns=...)"),
    "stealing": ("dynamic tasks of Ray or Dask", "work-stealing: True"),
    "drop": ("Flower's round timeout", "round_timeout, min_fit_clients"),
}


_SPLITS = {
    "data": ("PyTorch DistributedSampler, Spark partitions", "num_replicas, rank; spark.sql.shuffle.partitions"),
    "model": ("a device mesh of FSDP2, or Megatron-LM", "init_device_mesh; --tensor-model-parallel-size"),
    "work": ("Ray tasks, index shards of Milvus or Elasticsearch", "num_cpus; shards_num; index.number_of_shards"),
}  # fmt: skip


def tools(facts: Facts, design: Design) -> Iterator[tuple[str, str, str]]:
    """List slot, tool and option names for every decision."""
    yield "partition", *_SPLITS[design.split]
    for flow in design.flows:
        part = facts.parts[flow.of]
        sharded = isinstance(part, State) and design.holder(part) == "shards" and flow.kind.sums
        tool, options = _SHARDS if sharded else (flow.kind.tool, flow.kind.options)
        yield f"communication: {flow.of}", tool, options
    yield "consistency", *_MODELS[design.model]
    if design.control == "central":
        yield "coordination", "torchrun's c10d rendezvous, Ray head node, Slurm", "--rdzv-backend; GCS fault tolerance"
    else:
        yield "coordination", "etcd, or SWIM membership", "--rdzv-backend=etcd-v2"
    policy = POLICIES[design.policy]
    yield "fault tolerance", policy.tool, policy.options
    yield "load balancing: sharding", *_SHARDINGS[design.sharding]
    yield "load balancing: stragglers", *_STRAGGLERS[design.stragglers]


def torchrun(facts: Facts, design: Design) -> str:
    """Write a script that times a step's all-reduce with torch.distributed; `demos.speedup --fit` reads its output."""
    sizes = [int(communication.volume(design, flow, facts.parts[flow.of])) for flow in design.flows]
    largest = max([n for n in sizes if n] or [1 << 20])
    return f'''"""Run with torchrun --nproc-per-node=N for two N, and keep what is printed for demos.speedup --fit."""
import os
import time

import torch
import torch.distributed as dist

gpu = torch.cuda.is_available()
dist.init_process_group("nccl" if gpu else "gloo")
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
for n in ({max(4, largest // 64)}, {largest}):
    x = torch.zeros(max(1, n // 4), device=device)
    times = []
    for _ in range(12):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(x)
        if gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    if dist.get_rank() == 0:
        print(f"p={{dist.get_world_size()}} bytes={{x.numel() * 4}} seconds={{sorted(times[2:])[5]:.9f}}")
dist.destroy_process_group()
'''
