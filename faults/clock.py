"""The clock of detectors, agreements, recovery and injection; another transport of messages assigns its own here."""

import os
import time
from collections.abc import Callable

now: Callable[[], float] = time.monotonic
"""Seconds of the monotonic clock of the host, which all of its processes share."""
sleep: Callable[[float], None] = time.sleep
"""Let that many seconds pass."""
give_way: Callable[[], None] = os.sched_yield
"""Let other processes have the core, if they wait for it."""
