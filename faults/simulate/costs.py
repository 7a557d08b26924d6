"""Times given to a simulated drill, not simulated: MPI's runtime, mpirun, and a step's work."""

from __future__ import annotations

from dataclasses import dataclass, fields

from emulator.core.failure_costs import FailureCosts
from emulator.units import format_time

SOURCE = "Open MPI 5.0.11, 8 ranks on one machine with 2 cores"


@dataclass(frozen=True)
class JobCosts(FailureCosts):
    """Given times of a job in seconds, besides those of `FailureCosts`.

    Attributes
    ----------
    work_s : a rank's work in a step, where the pattern declares none
    limit_s : silence after which a stopped rank is killed
    teardown_s, launch_s : from the first death to the end of all ranks, and of mpirun to the first line of the program
    start_s : from when a rank starts another one to the first line of that one's program
    """

    work_s: float = 1e-3
    limit_s: float = 0.25
    teardown_s: float = 0.27
    launch_s: float = 0.65
    start_s: float = 0.11

    def line(self) -> str:
        """A line that lists all given times."""
        names = {one.name: one.name.removesuffix("_s").replace("_", " ") for one in fields(self)}
        told = ", ".join(f"{words} {format_time(getattr(self, name))}" for name, words in names.items())
        return f"given, not simulated: {told} ({SOURCE})"
