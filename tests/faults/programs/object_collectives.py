"""Collectives of Python objects."""

from __future__ import annotations

from typing import Any

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """Collectives of Python objects."""
    comm = job.comm
    n = comm.Get_size()
    assert comm.allreduce({comm.rank}, lambda a, b: a | b) == set(range(n))
    assert comm.bcast({"step": job.step} if comm.rank == 0 else None) == {"step": job.step}
    assert comm.allgather(str(comm.rank)) == [str(rank) for rank in range(n)]
    assert comm.scatter([[rank] * 1000 for rank in range(n)] if comm.rank == 0 else None) == [comm.rank] * 1000
    return float(comm.allreduce(1.0) / n)


if __name__ == "__main__":
    run(step)
