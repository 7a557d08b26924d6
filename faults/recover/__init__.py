"""Recovery: who works where after a death, and what state they begin from."""

from faults.recover.session import Recovering, recovering
from faults.recover.table import Table

__all__ = ["Recovering", "Table", "recovering"]
