"""Save what was measured when a job is ended by Ctrl-C or SIGTERM, and say on its terminal what was kept.

mpirun passes Ctrl-C on to its ranks as SIGTERM, forwards nothing that they print after it, kills them a quarter of a
second later, and ends with status 1 whatever theirs is. So rank 0 saves in a process of its own, which writes its line
to mpirun's standard error.
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
    """On rank 0, save what there is when the job is being ended, even if this rank is inside of a call of MPI.

    Python runs signal handlers between its own instructions only. A rank that waits in a call for others, which have
    ended already, would never come back to them; but the signal's number arrives in a pipe at once.

    Parameters
    ----------
    folder
        The run folder.
    save
        Saves what there is and says whether that was anything.
    """

    def __init__(self, folder: Path, save: Callable[[], bool]) -> None:
        self.folder, self.save, self.lock = folder, save, threading.Lock()
        self.inbox, outbox = os.pipe()
        os.set_blocking(outbox, False)
        signal.set_wakeup_fd(outbox, warn_on_full_buffer=False)
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        while os.read(self.inbox, 1)[0] not in (signal.SIGINT, signal.SIGTERM):
            pass
        time.sleep(_GRACE)  # the main thread does it better, if it can
        self.end()

    def end(self) -> NoReturn:
        """Let a process of its own save it, and leave without MPI_Finalize, where others would be waited for."""
        with self.lock:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # neither comes but once
            errors = _standard_error_of_mpirun()
            own_session, in_own_session = os.pipe()
            if os.fork() == 0:
                os.setsid()
                os.write(in_own_session, b"1")
                saved = False
                with contextlib.suppress(Exception):
                    saved = self.save()
                results.discard(self.folder)
                if not job.started_by_us():  # whose launcher says it
                    kept = f"what was measured until then is in {self.folder}" if saved else "nothing was kept"
                    os.write(errors, f"interrupted: {kept}\n".encode())
                os._exit(0)
            sys.stdout.flush()
            os.read(own_session, 1)  # with this rank's end mpirun kills whatever is in its process group
            os._exit(INTERRUPTED)


def _standard_error_of_mpirun() -> int:
    """A descriptor of the standard error of this rank's launcher, or of this process where that cannot be had."""
    if job.inside():
        with contextlib.suppress(OSError):
            return os.open(f"/proc/{os.getppid()}/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
    return 2


def leave(saver: SaverOnSignal | None) -> NoReturn:
    """End this rank: rank 0 when it has saved, the others later, since mpirun ends everybody with the first."""
    if saver is not None:
        saver.end()
    sys.stdout.flush()
    time.sleep(3 * _GRACE)
    os._exit(INTERRUPTED)
