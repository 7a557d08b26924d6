"""How a recovering rank ends when its program fails or ends itself, so that the other ranks are told.

    an exception leaves the loop        its traceback, then SIGKILL
    sys.exit(n), MPI.Finalize()         one line, then SIGKILL: to the others a death like any other
    Abort(n)                            one line, then `faults.run` ends the whole job with that status; SIGKILL without

A rank that is killed is missed by the others; one that exits with an error code, finalizes MPI or aborts is not.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from mpi4py import MPI

from emulator.comm.compiled_classes import replace_methods
from emulator.errors import UsageError
from faults.agree.deaths import OF_A_DEATH, RecoveryFailed
from faults.platform import LOCAL, Executioner
from faults.record import outcome
from faults.record.journal import What

if TYPE_CHECKING:
    from faults.inject.drill_context import DrillContext

_PATIENCE_S = 2.0
_ENDED_WITHIN_S = 10.0  # by the launcher, after an Abort


class StepOfNoRank(UsageError):
    """A step uses calls that no recovery repairs, so that no rank can complete it."""


class _Loop:
    """Whether this process is in its loop, where it must not finalize MPI, and that loop's context."""

    entered = False
    guarded = False
    drill: DrillContext | None = None

    @classmethod
    def at_finalize(cls, comm: MPI.Comm, keyval: int, value: object) -> None:
        """End this rank when MPI is finalized in the loop; MPI_Finalize first deletes the attributes of COMM_SELF."""
        if cls.entered:
            _end(f"{_name()} ended itself by MPI.Finalize() before the last step", 1)


def in_own_loop() -> bool:
    """Whether this process is in the loop of a user's program, not of a drill."""
    return _Loop.entered and not _in_drill()


def guard() -> None:
    """Make an uncaught exception of this process visible to the other ranks."""
    sys.excepthook = end_on_exception


def enter_loop() -> None:
    """Make the other ranks also notice when this rank finalizes MPI or aborts."""
    guard()
    _Loop.entered = True
    if not _Loop.guarded:
        _Loop.guarded = True
        MPI.COMM_SELF.Set_attr(MPI.Comm.Create_keyval(delete_fn=_Loop.at_finalize), True)
        replace_methods(MPI.Comm, {"Abort": _abort})


def check_no_loop(call: str) -> None:
    """Refuse a loop inside a loop.

    Raises
    ------
    UsageError
        This process is in one.
    """
    if in_own_loop():
        raise UsageError(
            f"{call} begins a loop inside another one, where a death would leave ranks in different loops: end the "
            "first one before"
        )


def leave_loop() -> None:
    """Note that this rank has left its loop, so that MPI.Finalize is allowed."""
    _Loop.entered = False


class GuardedLoop:
    """Base of a loop that all ranks enter and leave together, and that tells the others when one of them fails.

    Attributes
    ----------
    drill : outside of a drill an exception that leaves the loop ends this rank
    step : the step to be done
    """

    drill: DrillContext
    step: int
    _inside = False
    _ended = False  # no step is left: sys.exit() ends the program as it does after the ``with``
    _left_by: BaseException | None = None

    def _check_use(self) -> None:
        """Refuse a loop outside its ``with``, and one that continues after an exception has left a step."""
        if self._left_by is not None:
            left, what = self._left_by, type(self._left_by).__name__
            raise UsageError(
                f"step {self.step} was left by {what}: {left}, and the program went on: catch it inside job.attempt()"
            )
        if not self._inside:
            raise UsageError("use the loop inside 'with faults.recovering(...) as job:', job.next() was called outside")

    def __enter__(self) -> Self:
        self._inside = True
        enter_loop()
        _Loop.drill = self.drill
        outcome.say(outcome.BEGAN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        well = error is None or (self._ended and isinstance(error, SystemExit))
        if error is not None and not well and not self.drill.in_drill:
            end_in_the_loop(error, trace)
        leave_loop()
        if well:
            self._leave()
        self.drill.left()
        outcome.conclude(well)

    def _leave(self) -> None:
        """Wait for all living ranks at the end of the loop, because one that leaves early would count as dead."""
        raise NotImplementedError


def end_in_the_loop(error: BaseException, trace: TracebackType | None) -> None:
    """End this rank after an exception has left its loop, in which the other ranks wait for it."""
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        said = "" if error.code is None or isinstance(error.code, int) else f"{error.code}\n"
        _end(f"{said}{_name()} ended itself by sys.exit({code}) before the last step", code)
    end_on_exception(type(error), error, trace)


def end_on_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End this rank by SIGKILL after an uncaught exception, because MPI reports killed processes, not exited ones.

    Bad usage is one line; if all ranks have found it out, the exit status is 2. A rank that meets a death before its
    loop has not failed: the launcher starts the program again.
    """
    early = False
    if isinstance(error, MPI.Exception) and not _in_drill() and _means_a_death(error):
        error, early = _of_a_death(error, trace), not _Loop.guarded
    leave_loop()  # what it does from here on is no call of the program in its loop
    usage = isinstance(error, UsageError)
    if isinstance(error, StepOfNoRank) and outcome.folder() is not None:
        _end_all(f"error: {error}", error.exit_code, outcome.WRONG)
    if not early:
        outcome.fail(error.exit_code if isinstance(error, UsageError) else 0)
    if usage and _all_are_here():
        from emulator.launch.streams import print_error  # every rank pays for an import, and few end here

        print_error(str(error))
        MPI.Finalize()
        os._exit(error.exit_code)  # type: ignore[attr-defined]
    if usage or isinstance(error, RecoveryFailed):
        _print_once(f"error: {_name()}: {error}", str(error))
    else:
        traceback.print_exception(kind, error, trace)
    _end_process()


def _in_drill() -> bool:
    return _Loop.drill is not None and _Loop.drill.in_drill


def _means_a_death(error: MPI.Exception) -> bool:
    """Whether an MPI error means the death of a rank, by its class or, for other classes, by MPI's known failures."""
    if error.Get_error_class() in OF_A_DEATH:
        return True
    if error.Get_error_class() not in (MPI.ERR_OTHER, MPI.ERR_IN_STATUS):
        return False
    try:
        return MPI.COMM_WORLD.Get_failed().Get_size() > 0
    except (MPI.Exception, NotImplementedError, AttributeError):  # MPI has no ULFM
        return False


def _of_a_death(error: MPI.Exception, trace: TracebackType | None) -> UsageError:
    """The error to report where a call met a dead rank and no step is repeated."""
    frames = traceback.extract_tb(trace)
    main = getattr(sys.modules["__main__"], "__file__", None)
    where = next((frame for frame in reversed(frames) if frame.filename == main), frames[0] if frames else None)
    line = f"{os.path.basename(where.filename)}:{where.lineno}: " if where else ""
    if not _Loop.guarded:
        return UsageError(f"{line}a rank died before the loop, got {error}: faults run starts the program again")
    return UsageError(
        f"{line}a rank has died, got {error}: use job.comm, inside job.attempt() in the loop; after the loop it has "
        "the living ranks only"
    )


def _abort(self: MPI.Comm, errorcode: int = 0) -> NoReturn:
    """End this rank and, under `faults.run`, the job, for which the rank waits so that no other one sees it dead."""
    line = f"{_name()} called Abort({errorcode})"
    if outcome.folder() is not None:
        drill = _Loop.drill if _Loop.entered else None
        step = "" if drill is None or drill.board is None else f" in step {drill.board.steps[drill.member]}"
        _end_all(f"{line}{step}: all ranks end", errorcode or 1, outcome.ABORTED)
    _end(line, errorcode or 1, outcome.ABORTED)


def _end_all(line: str, status: int, word: str) -> NoReturn:
    """Ask the launcher to end all ranks, and wait for that."""
    _print_once(line, line if word == outcome.ABORTED else word)
    sys.stdout.flush()
    outcome.tell(aborted=MPI.COMM_WORLD.Get_rank(), at=LOCAL.clock.now())
    outcome.fail(status, word)
    LOCAL.clock.sleep(_ENDED_WITHIN_S)
    _end_process()


def _print_once(line: str, text: str) -> None:
    """Print a line unless another rank has printed the same text."""
    if outcome.is_news(text):
        print(line, file=sys.stderr, flush=True)


def _end(line: str, status: int, word: str = outcome.QUIT) -> NoReturn:
    outcome.fail(status, word)
    print(line, file=sys.stderr)
    _end_process()


def depart(drill: DrillContext, step: int, place: int | None) -> NoReturn:
    """End this rank between two steps, as a notice demands."""
    drill.journal.write(What.DEPARTED, step=step)
    outcome.fail(0, outcome.TOLD)
    outcome.tell(left=place, at=drill.platform.clock.now())
    print(f"{_name(drill)} left before step {step}, as it was told to", file=sys.stderr)
    _end_process(drill.platform.executioner)


def end_corrupt(drill: DrillContext, step: int) -> NoReturn:
    """End this rank because its state differs from that of the majority."""
    drill.journal.write(What.DEPARTED, step=step)
    outcome.fail(0, outcome.CORRUPT)
    print(f"{_name(drill)} ended itself in step {step}: its state is not that of the other ranks", file=sys.stderr)
    _end_process(drill.platform.executioner)


def end_cut_off(drill: DrillContext, step: int | None, unreached: Iterable[int]) -> NoReturn:
    """End this rank because it reaches too few others."""
    drill.journal.write(What.DEPARTED, step=step)
    outcome.fail(0, outcome.CUT_OFF)
    line = f"{_name(drill)} stops: it reaches no quorum without ranks {', '.join(map(str, unreached))}"
    print(line, file=sys.stderr)
    _end_process(drill.platform.executioner)


def _end_process(executioner: Executioner = LOCAL.executioner) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    executioner.strike(signal.SIGKILL)
    raise AssertionError("a killed process goes on")


def _name(drill: DrillContext | None = None) -> str:
    world = MPI.COMM_WORLD if drill is None else drill.platform.world or MPI.COMM_WORLD
    return f"rank {world.Get_rank()}"


def _all_are_here() -> bool:
    """Whether every process of the job ends in the same way as this one."""
    try:
        together: Any = MPI.COMM_WORLD.Ibarrier()
        deadline = LOCAL.clock.now() + _PATIENCE_S
        while not together.Test():
            if LOCAL.clock.now() > deadline:
                return False
            LOCAL.clock.sleep(1e-3)
    except MPI.Exception:
        return False
    return True
