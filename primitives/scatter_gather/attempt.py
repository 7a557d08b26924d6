"""Run one task: a call, or the steps of a generator; an exception becomes a result with its traceback."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any

from mpi4py import MPI

from emulator import now
from emulator.errors import UsageError
from primitives.scatter_gather.outcome import Outcome

CANCELLED = object()  # in place of a value


def attempt(
    comm: MPI.Comm, function: Callable[[Any], Any], task: int, argument: Any, retries: int,
    at_yield: Callable[[], bool] = lambda: False,
) -> Outcome:  # fmt: skip
    """Call ``function(argument)``, up to ``retries`` more times while it raises; returns the last outcome."""
    for number in range(1, retries + 2):
        start, error = now(comm), None
        try:
            value = function(argument)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # a task that calls sys.exit() has failed; its rank has not
            value, error = None, traceback_text(raised)
        if isinstance(value, GeneratorType):
            value, error = run_generator(value, at_yield)
        outcome = Outcome(task, value, error, comm.Get_rank(), number, now(comm) - start)
        if error is None:
            break
    return outcome


def run_generator(body: Generator[Any, Any, Any], at_yield: Callable[[], bool]) -> tuple[Any, str | None]:
    """Run a generator task; returns (value, traceback), or `CANCELLED` if ``at_yield()`` is true at a yield."""
    while True:
        try:
            next(body)
        except StopIteration as stop:
            return stop.value, None
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            return None, traceback_text(raised)
        if at_yield():  # outside the try: an error of MPI in it is not the task's failure
            body.close()
            return CANCELLED, None


def check_retries(retries: int) -> None:
    """Refuse a negative number of retries."""
    if retries < 0:
        raise UsageError(f"retries must be >= 0, got {retries}: 0 means one attempt only")


def traceback_text(error: BaseException) -> str:
    """The traceback, without the frame of the caller."""
    frames = error.__traceback__ and error.__traceback__.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))
