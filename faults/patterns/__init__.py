"""What a drill can put to the test: each pattern at work, step by step, with a result that can be checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults.instruments import Instruments
from faults.job import JobSpec

PATTERNS = ("ring",)


def run(spec: JobSpec, folder: Path, tools: Instruments) -> dict[str, Any]:
    """Do this rank's part of the job; the record of its outcome."""
    from faults.patterns import stepwise

    return stepwise.run(spec, folder, tools)
