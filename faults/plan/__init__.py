"""What shall go wrong, where and when: fault lines, plan files, and their meaning for one job."""

from faults.plan.files import load, read_lines
from faults.plan.grammar import parse
from faults.plan.model import Event, Fault, Target, When
from faults.plan.resolve import describe, resolve

__all__ = ["Event", "Fault", "Target", "When", "describe", "load", "parse", "read_lines", "resolve"]
