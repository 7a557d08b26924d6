"""Membership: a group that finds out together who is alive.

swim         the protocol, without transport and clock      detector     over MPI
simulation   the protocol in virtual time: detection times and false alarms
"""

from primitives.membership.detector import Detector
from primitives.membership.simulation import Figures, Group, simulate
from primitives.membership.swim import Event, Settings, State, Swim

__all__ = ["Detector", "Event", "Figures", "Group", "Settings", "State", "Swim", "simulate"]
