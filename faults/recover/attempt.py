"""One attempt at a step: it is done, or its failure is passed to the loop."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from mpi4py import MPI

from faults.recover.repair import APART

if TYPE_CHECKING:
    from faults.recover.step_loop import Recovering


class Attempt:
    """The context manager of an attempt at a step; made once and short, because every step pays for it."""

    __slots__ = ("_implied", "_in_drill", "_job", "_watched")

    def __init__(self, job: Recovering) -> None:
        self._job, self._implied = job, not job.every
        self._in_drill, self._watched = job.drill.in_drill, not job.drill.silent

    def __enter__(self) -> None:
        self._job.comm.open()
        if self._watched:
            self._job.drill.working_on(self._job.step)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        job = self._job
        if kind is None and self._implied:
            known = job.step  # steps that all ranks have finished
            step = known + 1
            if not step % APART or step == job._steps:
                failed = job._hidden_death() or job._corruption()
                if failed is not None:
                    job._fail(failed)
                    job.comm.close()
                    return True
            job.step = step
            if not step % APART:
                job._copies.keep(step, job.state)
            if self._in_drill:
                job._commits.finish()
                job._commits.commit(known - known % APART)
            if not step % APART and job._may_change:
                job._at_boundary()
            job.comm.close()
            return True
        if error is not None and (not isinstance(error, MPI.Exception) or job._processes.programs_own(error)):
            job._left_by = error
            if isinstance(error, Exception) and job.place is not None:
                job._copies.check(job.state)  # a value of another type explains most errors
            return False
        job._finish(error)
        job.comm.close()
        return True
