"""Membership: the members of a group agree on which of them are alive.

swim      the protocol, without transport and clock      messages  messages and reports      detector  over MPI
"""

from primitives.membership.detector import Detector
from primitives.membership.messages import Event, State
from primitives.membership.swim import Settings, Swim

__all__ = ["Detector", "Event", "Settings", "State", "Swim"]
