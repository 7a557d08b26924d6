"""A step that is a generator, which communicates between its parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """A step that is a generator, which communicates between its parts."""

    def parts() -> Iterator[float]:
        for root in range(job.comm.Get_size()):
            yield job.comm.bcast(1.0 if job.comm.rank == root else None, root)

    return sum(parts()) / job.comm.Get_size()


if __name__ == "__main__":
    run(step)
