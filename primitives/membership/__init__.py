"""Membership: the members of a group agree on which of them are alive.

swim      the protocol, without transport and clock      detector  over MPI
"""

from primitives.membership.detector import Detector
from primitives.membership.swim import Event, Settings, State, Swim

__all__ = ["Detector", "Event", "Settings", "State", "Swim"]
