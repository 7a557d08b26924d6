"""Times of MPI's fault tolerance that a simulation is given because it cannot simulate them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FailureCosts:
    """Given times of fault tolerance in seconds; defaults measured with Open MPI 5.0.11, 8 ranks on one machine.

    Attributes
    ----------
    detect_s : from a death to the moment at which the other ranks know of it
    calm_agree_s, agree_s : an agreement, before any death and afterwards
    revoke_s : until a revocation has reached all ranks
    shrink_s : `Shrink`, from when the last rank calls it
    join_s : `Accept` and `Connect`, from when the last rank calls one of them, with the `Merge` that follows
    """

    detect_s: float = 6.0e-3
    calm_agree_s: float = 14e-6
    agree_s: float = 0.5e-3
    revoke_s: float = 50e-6
    shrink_s: float = 1.6e-3
    join_s: float = 30e-3
