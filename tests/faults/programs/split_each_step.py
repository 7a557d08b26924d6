"""A Split, a Dup and collectives on both in each step."""

from __future__ import annotations

from typing import Any

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """A Split, a Dup and collectives on both in each step."""
    comm = job.comm
    part = comm.Split(comm.rank % 2, comm.rank)
    ranks = range(comm.rank % 2, comm.Get_size(), 2)
    assert part.allgather(comm.rank) == list(ranks)
    twin = part.Dup()
    assert twin.allreduce(1) == part.Get_size() == len(ranks)
    return float(comm.allreduce(1 / part.Get_size()) / min(2, comm.Get_size()))


if __name__ == "__main__":
    run(step)
