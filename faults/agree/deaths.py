"""The dead ranks that MPI knows of, and the error of a recovery that cannot go on."""

from __future__ import annotations

from mpi4py import MPI

DEATHS = {MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING}
"""Classes of errors by which MPI tells of a dead rank."""
OF_A_DEATH = DEATHS | {MPI.ERR_REVOKED}
"""The same, and that by which a rank learns that others have given up what it waits for."""


class RecoveryFailed(RuntimeError):
    """A recovery failed; `phase` says where and `reason` why."""

    def __init__(self, phase: str, reason: str) -> None:
        super().__init__(f"{phase}: {reason}")
        self.phase, self.reason = phase, reason


def dead_ranks(comm: MPI.Comm, members: MPI.Group) -> set[int]:
    """Ranks of `comm`, whose group is `members`, that this process knows to be dead."""
    group = comm.Get_failed()
    dead = group.Translate_ranks(list(range(group.size)), members) if group.size else []
    group.Free()
    return set(dead)
