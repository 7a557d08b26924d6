"""What shall go wrong, where and when: fault lines, plan files, and their meaning for one job."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faults.plan.events import describe, resolve
    from faults.plan.files import load, read_lines
    from faults.plan.grammar import parse
    from faults.plan.model import Event, Fault, Target, When

__all__ = ["Event", "Fault", "Target", "When", "describe", "load", "parse", "read_lines", "resolve"]

_IN = {"load": "files", "read_lines": "files", "parse": "grammar", "describe": "events", "resolve": "events"}


def __getattr__(name: str) -> Any:
    """On demand: a rank is told its events and never reads a fault line, and its start is what a restart waits for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"faults.plan.{_IN.get(name, 'model')}"), name)
