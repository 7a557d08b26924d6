"""Recovery: who works where after a death, and what state they begin from."""

from faults.recover.placement import Placement
from faults.recover.step_loop import Recovering, recovering

__all__ = ["Placement", "Recovering", "recovering"]
