"""A job for the tests: ranks of a scatter-gather are killed for good, and rank 0 writes its verdict.

``python -m tests.primitives.scatter_gather_kill FORM VERDICT [VICTIM ...]``
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import mpi4py

mpi4py.rc.finalize = False
from mpi4py import MPI  # noqa: E402

from primitives.inbox import Outbox  # noqa: E402
from primitives.scatter_gather import Answer, Shards, ask_shards, coordinator, map_tasks, steal_tasks  # noqa: E402

TASKS = 60


def main(form: str, verdict: str, victims: set[int]) -> None:
    """Run the form; a victim dies by SIGKILL in a task that it is sure to get: a thief leaves it at least one."""
    comm = MPI.COMM_WORLD.Dup()
    comm.Set_errhandler(MPI.ERRORS_RETURN)
    started, last = 0, 1 if form in ("stealing", "large") else 2

    def work(x: Any) -> int:
        nonlocal started
        started += 1
        if comm.Get_rank() in victims and started == last:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1e-3)
        return int(x) ** 2

    answer: Answer | None
    if form == "dynamic":
        answer = map_tasks(comm, work, range(TASKS))
    elif form == "large":  # sends to the dead are still under way when it is known to be dead
        Outbox.MOST = 2  # look at them soon
        tasks = [(x, b" " * 1_000_000) for x in range(TASKS)]
        answer = map_tasks(comm, lambda task: work(task[0]), tasks, batch=1)
    elif form == "stealing":
        answer = steal_tasks(comm, work, range(TASKS))
    else:
        placement = Shards(TASKS, range(1, comm.Get_size()), replicas=3)
        with coordinator(comm, lambda task: work(task[0])) as pool:
            answer = None if pool is None else ask_shards(pool, placement, None)
    if answer is not None:
        text = json.dumps({"values": answer.values(), "dead": answer.counts.dead, "order": answer.order})
        Path(verdict).write_text(text)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], {int(victim) for victim in sys.argv[3:]})
