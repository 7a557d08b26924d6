"""Membership: ranks work and, between two steps, ask each other who is alive (SWIM), without help from the runtime.

Not a pattern of the catalogue: nothing is recovered. It shows when a group finds out that a member fell silent, and
whom it gives up wrongly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults.detect.swim import settings
from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns import work
from faults.recover.exclusion import routing
from primitives.membership import Detector, State


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Work for `spec.steps` steps of ``step_s`` seconds, of which ``grip_s`` are computed without a pause."""
    limit_s, step_s = spec.options["limit_s"], spec.options["step_s"]
    given_up: dict[int, float] = {}
    with routing(job_comm(spec, tools), tools) as route:
        detector = Detector(route.comm, settings=settings(limit_s), seed=spec.seed, clock=tools.platform.clock.now)
        for _ in route.steps(spec.steps):
            if spec.options["grip_s"]:
                work.grip(spec.options["grip_s"])
            if tools.injector is not None:
                tools.injector.drag(step_s)
            for event in detector.watch(step_s):
                if event.state is State.DEAD:
                    given_up.setdefault(event.member, event.time)
        detector.close()
    return {"place": route.rank, "given_up": {str(rank): at for rank, at in given_up.items()}}
