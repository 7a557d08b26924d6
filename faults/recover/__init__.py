"""Recovery: which process works where after a death, and from which state it goes on."""

from faults.recover.step_loop import Recovering, recovering

__all__ = ["Recovering", "recovering"]
