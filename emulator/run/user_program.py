"""Run a user's program inside a rank: find it without importing it, replace MPI.COMM_WORLD, exit with its status.

Nothing of the program may be imported before `emulate_world`: a package whose ``__init__`` takes MPI.COMM_WORLD would
otherwise hold the real one, and run at the machine's own speed.
"""

from __future__ import annotations

import atexit
import gc
import os
import runpy
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from emulator.errors import UsageError

_INSTALLED = tuple({*(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")), "<frozen"})
_STARTERS = (__name__, "runpy", "emulator.sim.programs.program")
_PRINTS_S = 2.0  # time for another rank to print an error that all have


def exists(module: str) -> bool:
    """Whether there is such a module, or runnable package, without importing its parent packages."""
    path: Any = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for place in range(len(parts)):
        spec = _spec(".".join(parts[: place + 1]), path)
        if spec is None or (place + 1 < len(parts) and spec.submodule_search_locations is None):
            return False
        path = list(spec.submodule_search_locations or ())
    return not path or _spec(f"{module}.__main__", path) is not None


def _spec(name: str, path: Any) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(name, path)
        except (ImportError, AttributeError, KeyError):
            continue
        if found is not None:
            return found
    return None


def emulate_world(mpi: Any, comm: Any) -> None:
    """Replace COMM_WORLD, Wtime, Init and Finalize of the module mpi4py.MPI by emulated ones."""
    from emulator.comm.refused import refuse_in_program

    refuse_in_program()
    mpi.Wtime = comm.now
    replace_world(mpi, comm)


def replace_world(mpi: Any, comm: Any) -> None:
    """Replace COMM_WORLD of the module mpi4py.MPI."""
    mpi.COMM_WORLD = comm
    # MPI is up already, and must stay up until the ranks' figures are gathered.
    mpi.Init = mpi.Finalize = lambda: None
    mpi.Init_thread = lambda required=mpi.THREAD_MULTIPLE: mpi.Query_thread()


def execute(first: Callable[[], bool], module: str | None, arguments: list[str]) -> None:
    """Run the program; if it fails on one rank, end the job instead of leaving the other ranks waiting.

    Parameters
    ----------
    first : whether this rank is the first to ask, and prints an error that all have
    """

    def in_thread(failure: Any) -> None:
        if isinstance(failure.exc_value, UsageError):
            _end_with_usage_error(first, failure.exc_value)
        threading.__excepthook__(failure)

    threading.excepthook = in_thread
    try:
        become(module, arguments)
    except SystemExit as end:
        if end.code not in (None, 0):
            if not isinstance(end.code, int):
                print(end.code, file=sys.stderr)
            leave(end.code if isinstance(end.code, int) else 1)
    except UsageError as error:
        _end_with_usage_error(first, error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        traceback.print_exception(without_ours(error))
        leave(1)


def become(module: str | None, arguments: Sequence[str]) -> None:
    """Run the program as Python does: as ``__main__``, with its own arguments, its folder first on sys.path."""
    # Its end searches for cycles as ever in what the program has made, but not in what was imported before.
    atexit.unregister(gc.freeze)
    gc.freeze()
    if module is not None:
        sys.argv = [module, *arguments]
        sys.path[0] = os.getcwd()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        sys.path[0] = os.path.dirname(os.path.realpath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


def named(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Split ``["-m", "module", ...]`` or ``["script.py", ...]`` into the module (or None) and the other words."""
    return (words[1], [*words[2:]]) if words[0] == "-m" else (None, [*words])


def without_ours(error: BaseException) -> BaseException:
    """Drop the frames above the program's own, as Python's traceback of the program alone would show."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in _STARTERS:
        trace = trace.tb_next
    return error.with_traceback(trace)


def _end_with_usage_error(first: Callable[[], bool], error: UsageError) -> None:
    """End the rank after a usage error with one line: the program's line that caused it, and the message."""
    if first():  # the others have the same error
        print(f"error: {place(error)}{error}", file=sys.stderr)
    else:
        time.sleep(_PRINTS_S)  # the first rank that ends takes the others with it, printed or not
    leave(error.exit_code)


def place(error: BaseException) -> str:
    """The program's line that caused an error: ``"FILE:LINE: "``."""
    frames = [one for one in reversed(traceback.extract_tb(error.__traceback__)) if not _ours(one)]
    frame = next((one for one in frames if not one.filename.startswith(_INSTALLED)), frames[0] if frames else None)
    return f"{frame.filename}:{frame.lineno}: " if frame else ""


def _ours(frame: traceback.FrameSummary) -> bool:
    return Path(__file__).resolve().parents[1] in Path(frame.filename).resolve().parents


def leave(status: int) -> None:
    """End this rank at once, upon which mpirun ends the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
