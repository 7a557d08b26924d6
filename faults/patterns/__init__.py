"""What a drill can put to the test: each pattern at work, step by step, with a result that can be checked."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Do this rank's part of the job; the record of its outcome."""
    module = importlib.import_module(f"faults.patterns.{spec.pattern.replace('-', '_')}")
    return module.run(spec, folder, tools)
