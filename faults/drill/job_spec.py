"""What a launched job is told: one JSON file in its folder, read by every rank."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import policies
from faults.plan.model import Event
from faults.policies import Policy

FILE = "job.json"
BOARD, JOURNAL, VERDICTS, MEMBERS, STACKS = "board", "journal", "verdicts", "members", "stacks"
NEWCOMERS = 64
"""Rows on the board for processes that are spawned later."""

CHECKPOINT = {"folder": None, "every": 10, "keep": 2, "background": False, "mtbf_s": None, "levels": ()}
"""Where to, how often (steps; 0 by Daly's rule from `mtbf_s`), how many are kept, written in the background or not; and
within a running job the levels, of memory and disk, on which ranks keep what they alone have."""
LEVELS = {"memory": ("memory",), "memory,disk": ("memory", "disk")}


@dataclass
class JobSpec:
    """A pattern at work under a policy, with the faults it will meet."""

    pattern: str
    ranks: int
    steps: int
    recovery: str
    spares: int = 0
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    checkpoint: dict[str, Any] = field(default_factory=lambda: dict(CHECKPOINT))
    detector: str = "runtime"
    beat_s: float = 0.0
    net: str | None = None
    pace: float | str = "none"
    attempt: int = 0
    real_hosts: bool = False

    @property
    def policy(self) -> Policy:
        return policies.of(self.recovery)

    @property
    def world(self) -> int:
        """Processes at the start."""
        return self.ranks + self.spares

    @property
    def name(self) -> str:
        """What tells one job's checkpoints from another's."""
        options = " ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.pattern} seed={self.seed} steps={self.steps} {options}"

    @property
    def members(self) -> int:
        """Rows on the board."""
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
