"""Checkpoints, complete or rejected: on disk (`Store`), in a neighbour's memory (`Buddy`); optimal intervals."""

from emulator.costs.checkpoints import daly, young
from faults.checkpoint.part import Damaged, Slice
from faults.checkpoint.store import Store

__all__ = ["Damaged", "Slice", "Store", "daly", "young"]
