"""Start a second recovering loop of a program with the ranks that survived the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpi4py import MPI

from emulator.errors import UsageError
from emulator.policies import Policy, named
from faults.agree import survivor_group

if TYPE_CHECKING:
    from faults.recover.job_processes import JobProcesses


class _Last:
    """The processes of the program's previous loop, and the communicator that it was given."""

    processes: JobProcesses | None = None
    comm: MPI.Intracomm | None = None


def survivors_of_last_loop(comm: MPI.Intracomm, policy: Policy) -> MPI.Intracomm:
    """The communicator of the program's next loop: `comm`, or its survivors if a loop has run on it.

    Raises
    ------
    UsageError
        One of the two loops spawns processes, which begin the program at its first loop.
    """
    last = _Last.processes
    if last is not None and (last.policy.spawns or policy.spawns):
        raise UsageError(
            f"a program has one loop where processes are spawned, got a second one, by {policy.name!r} after "
            f"{last.policy.name!r}: do both in one loop, or use policy "
            f"{named(lambda one: one.repeats_steps and not one.spawns)}"
        )
    if last is None or comm != _Last.comm:
        _Last.comm = comm
        return comm
    return survivor_group.shrink(last.group.agree_comm)


def begins(processes: JobProcesses) -> None:
    """Note the processes of the loop that begins."""
    _Last.processes = processes
