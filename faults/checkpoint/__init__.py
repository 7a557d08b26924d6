"""Checkpoints that are whole or not there: on disk, in a neighbour's memory, at an interval worth its price."""

from emulator.costs.checkpoints import daly, young
from faults.checkpoint.part import Damaged, Slice
from faults.checkpoint.store import Store

__all__ = ["Damaged", "Slice", "Store", "daly", "young"]
