"""Python objects between neighbours, blocking and not."""

from __future__ import annotations

from typing import Any

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """Python objects between neighbours, blocking and not."""
    comm = job.comm
    n = comm.Get_size()
    left, right = (comm.rank - 1) % n, (comm.rank + 1) % n
    request = comm.isend({"from": comm.rank, "text": "x" * 20_000}, right, 4)
    assert comm.recv(source=left, tag=4)["from"] == left
    request.wait()
    receive = comm.irecv(source=left, tag=5)
    comm.send(job.step, right, 5)
    assert receive.wait() == job.step
    assert comm.sendrecv(comm.rank, right, source=left) == left
    return float(comm.allreduce(1.0) / n)


if __name__ == "__main__":
    run(step)
