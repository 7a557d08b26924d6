"""Save the measurements when Ctrl-C or SIGTERM ends a job, and print on its terminal what was kept.

mpirun forwards Ctrl-C to its ranks as SIGTERM, drops what they print after it, kills them a quarter of a second later,
and exits with status 1 whatever their status is. So rank 0 forks a process that saves the result and writes one line
to mpirun's standard error. That line names no cause: mpirun sends the same SIGTERM when another rank has failed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from emulator import results
from emulator.launch import job

INTERRUPTED = 130
"""Exit status of a run that was ended by Ctrl-C, as shells have it."""

_GRACE = 0.02  # seconds


class SaverOnSignal:
    """Saves the result so far on rank 0 when a signal ends the job, even while it is inside an MPI call.

    Python runs signal handlers between bytecode instructions only. A rank blocked in an MPI call on ranks that have
    ended never reaches the next one; but the signal's number is written to a pipe at once, which a thread reads.

    Parameters
    ----------
    folder : the run folder
    save : saves the result so far and returns whether the run folder has a result
    """

    def __init__(self, folder: Path, save: Callable[[], bool]) -> None:
        self.folder, self.save, self.lock = folder, save, threading.Lock()
        self.inbox, outbox = os.pipe()
        os.set_blocking(outbox, False)
        signal.set_wakeup_fd(outbox, warn_on_full_buffer=False)
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        while not _ends_the_run(os.read(self.inbox, 1)[0]):
            pass
        time.sleep(_GRACE)  # a main thread that is not blocked ends the run itself
        self.end()

    def end(self) -> NoReturn:
        """Fork a process that saves the result, and exit without MPI_Finalize, which would wait for other ranks."""
        with self.lock:
            signal.pthread_sigmask(
                signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM}
            )  # a second signal must not interrupt this
            errors = _standard_error_of_mpirun()
            own_session, in_own_session = os.pipe()
            if os.fork() == 0:
                os.setsid()
                os.write(in_own_session, b"1")
                saved = False
                with contextlib.suppress(Exception):
                    saved = self.save()
                results.discard(self.folder)
                if not job.started_by_us():  # otherwise the launcher prints this line
                    kept = f"what was measured until then is in {self.folder}" if saved else "nothing was kept"
                    os.write(errors, f"ended early: {kept}\n".encode())
                os._exit(0)
            sys.stdout.flush()
            os.read(own_session, 1)  # when this rank exits, mpirun kills everything in its process group
            os._exit(INTERRUPTED)


def _ends_the_run(number: int) -> bool:
    """Whether a signal ends the run; a program with a handler of its own decides itself."""
    return number in (signal.SIGINT, signal.SIGTERM) and signal.getsignal(number) is signal.default_int_handler


def _standard_error_of_mpirun() -> int:
    """File descriptor of the launcher's standard error, or this process's if that cannot be opened."""
    if job.inside():
        with contextlib.suppress(OSError):
            return os.open(f"/proc/{os.getppid()}/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
    return 2


def leave(saver: SaverOnSignal | None) -> NoReturn:
    """End this rank: rank 0 by its saver, the others later, because mpirun ends the job with the first exit."""
    if saver is not None:
        saver.end()
    sys.stdout.flush()
    time.sleep(3 * _GRACE)
    os._exit(INTERRUPTED)
