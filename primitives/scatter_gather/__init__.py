"""Scatter-gather: one rank distributes tasks and gathers their results.

    static.py       equal blocks, to each rank directly or down a tree
    dynamic.py      workers pull tasks from a coordinator: retries, deadlines, backups, deaths
    keyed.py        tasks of a shard go to its replicas
    stealing.py     without a coordinator: idle ranks take tasks from busy ones

The dynamic form rests on coordinator.py and worker.py (the two ends), attempt.py (one task), ledger.py (which rank
runs what), messages.py, outcome.py (results, the journal) and stragglers.py (deadline and quorum, backup tasks).
"""

from primitives.scatter_gather.dynamic import Coordinator, coordinator, map_tasks
from primitives.scatter_gather.keyed import Shards, ask_shards, stable_hash
from primitives.scatter_gather.messages import failed_ranks
from primitives.scatter_gather.outcome import Answer, Counts, Journal, Outcome, TaskFailed, TasksMissing
from primitives.scatter_gather.static import gather_blocks, map_blocks, scatter_blocks
from primitives.scatter_gather.stealing import steal_tasks
from primitives.scatter_gather.stragglers import Deadline
from primitives.scatter_gather.worker import serve

__all__ = [
    "Answer", "Coordinator", "Counts", "Deadline", "Journal", "Outcome", "Shards", "TaskFailed",
    "TasksMissing", "ask_shards", "coordinator", "failed_ranks", "gather_blocks", "map_blocks", "map_tasks",
    "scatter_blocks", "serve", "stable_hash", "steal_tasks",
]  # fmt: skip
