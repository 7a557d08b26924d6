"""The job file: the description of a job as JSON in its folder, which every rank reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator import policies
from emulator.policies import Policy
from faults import detect
from faults.detect import Detector
from faults.drill.request import Request
from faults.plan.model import Event

if TYPE_CHECKING:
    from faults.simulate.costs import JobCosts

FILE = "job.json"
BOARD, JOURNAL, RESULTS, MEMBERS, STACKS = "board", "journal", "results", "members", "stacks"
NEWCOMERS = 64
"""Rows on the board for processes that are spawned later."""

CHECKPOINT = {"folder": None, "every": 10, "keep": 2, "background": False, "mtbf_s": None, "levels": ()}
"""Folder, interval (steps; 0: by Daly's rule from `mtbf_s`), number kept, whether a thread writes them; and the levels,
memory and disk, on which the ranks of a running job save the arrays that only they have."""
LEVELS = {"memory": ("memory",), "memory,disk": ("memory", "disk")}


@dataclass
class JobSpec(Request):
    """A resolved request: every field has a value, and faults are events of ranks."""

    recovery: str = ""
    spares: int = 0
    steps: int = 0
    detector: str = detect.RUNTIME
    checkpoint: dict[str, Any] = field(default_factory=lambda: dict(CHECKPOINT))
    events: list[Event] = field(default_factory=list)
    attempt: int = 0

    @property
    def policy(self) -> Policy:
        return policies.of(self.recovery)

    @property
    def costs(self) -> JobCosts:
        """Times given to a simulated job (MPI's runtime, mpirun, a step), not simulated."""
        from faults.simulate.costs import JobCosts  # with units it takes 6 ms, and real ranks never ask for it

        return JobCosts()

    @property
    def failure_detector(self) -> Detector:
        return detect.of(self.detector)

    @property
    def on_disk(self) -> bool:
        """Whether the job writes checkpoints."""
        return self.policy.relaunches or "disk" in self.checkpoint["levels"]

    @property
    def world(self) -> int:
        """Number of processes at the start, spares included."""
        return self.ranks + self.spares

    @property
    def name(self) -> str:
        """The identity of the job in the headers of its checkpoints."""
        options = " ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.pattern} seed={self.seed} steps={self.steps} {options}"

    @property
    def members(self) -> int:
        """Number of rows on the status board."""
        return self.world + NEWCOMERS

    def save(self, folder: Path) -> None:
        waiting = folder / f".{FILE}"
        waiting.write_text(json.dumps(vars(self) | {"events": [event.to_json() for event in self.events]}))
        waiting.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> JobSpec:
        record = json.loads((folder / FILE).read_text())
        record["events"] = [Event.from_json(event) for event in record["events"]]
        return cls(**record)
