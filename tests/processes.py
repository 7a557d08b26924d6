"""Processes that tests start, none of which outlives its test or lets it wait for ever."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LIMIT = 100.0  # seconds; generous, because the machine may be busy


@contextlib.contextmanager
def running(
    command: Sequence[Any], seconds: float = LIMIT, env: Mapping[str, str] | None = None, **popen: Any
) -> Iterator[subprocess.Popen]:
    """Start a process that ends with the block, or after `seconds`: what reads from it then ends, too.

    A Python process that comes to its limit writes the stacks of its threads to its standard error.

    Parameters
    ----------
    env, popen : as for ``subprocess.Popen``
    """
    whole = {**(os.environ if env is None else env), "PYTHONFAULTHANDLER": "1"}
    with subprocess.Popen(command, env=whole, **popen) as process:
        timer = threading.Timer(seconds, process.send_signal, (signal.SIGABRT,))
        timer.daemon = True
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()  # nothing if it has ended, as it should have
