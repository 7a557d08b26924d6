"""How a recovering rank ends when its program fails: so that the others are told."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import TracebackType


def die_loudly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An uncaught exception must look like a crash: a process that exits with an error code is never missed."""
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
