"""Refuse, at the call, what a program in its loop would wait for without end because of a dead rank or a spare.

    collectives on MPI.COMM_WORLD, or on what was made from it    where spares are among its processes
    windows and files that several processes share                what opens, synchronizes or closes them
    Spawn                                                         no recovery reaches the processes that it starts

Open MPI (5.0.11) gives no error where a window waits for a dead rank. The memory of a shared window, and what one rank
reads or writes in a file by itself, stay as they are.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from inspect import getattr_static
from typing import Any

from mpi4py import MPI

from emulator.carrier import CARRIES_OTHERS
from emulator.comm.compiled_classes import replace_methods
from emulator.comm.refused import NoHandle
from emulator.errors import UsageError
from faults.recover.survivors.revoked_comms import JOB
from faults.recover.user_loop.program_failure import in_own_loop

_COLLECTIVES = (
    "Barrier Bcast Gather Gatherv Scatter Scatterv Allgather Allgatherv Alltoall Alltoallv Alltoallw Reduce Allreduce "
    "Reduce_scatter Reduce_scatter_block Scan Exscan"
)
_MAKING = (
    "Split Split_type Dup Dup_with_info Idup Idup_with_info Create Create_cart Create_graph Create_dist_graph "
    "Create_dist_graph_adjacent Create_intercomm"
)
_WINDOWS = {"Create", "Allocate", "Allocate_shared", "Create_dynamic"}
_SYNCHRONIZING = re.compile(
    "Fence|Free|Start|Complete|Post|Wait|Test|(Lock|Unlock|Flush|Flush_local)(_all)?"
    "|(R|Rget_|Get_)?[Aa]ccumulate|Put|Get|Rput|Rget|Fetch_and_op|Compare_and_swap"
)
_TOGETHER = re.compile(".*_(all|ordered|shared)(_begin|_end)?|Close|Preallocate|Set_(size|view|atomicity)|Sync")
_INSTEAD = {
    "Win": "use messages or collectives of job.comm",
    "File": "open it on MPI.COMM_SELF and use Write_at",
}


class _Spares:
    """The processes that wait for a place in this program's loop."""

    group: MPI.Group = MPI.GROUP_EMPTY


def refuse_collectives_with_spares(comm: MPI.Intracomm, spares: int) -> None:
    """Refuse from now on collectives in the loop that include a spare, one of the last `spares` ranks of `comm`."""
    _Spares.group = comm.Get_group().Excl(list(range(comm.Get_size() - spares)))
    classes: tuple[Any, ...] = (MPI.Comm, MPI.Intracomm, MPI.Topocomm, type(comm))
    for cls in classes:
        _refuse_collectives(cls)


@functools.cache
def _refuse_collectives(cls: Any) -> None:
    names = set(_MAKING.split())
    for name in _COLLECTIVES.split():
        low = name.lower()
        names |= {name, low, f"I{low}", f"{name}_init", f"Neighbor_{low}", f"neighbor_{low}", f"Ineighbor_{low}"}
    _guard(cls, names & set(vars(cls) if cls.__module__ == MPI.__name__ else dir(cls)), _with_a_spare)


@functools.cache
def refuse_what_hangs() -> None:
    """Refuse from now on what processes cannot share in a loop that continues after a death."""
    for cls, together, opening in ((MPI.Win, _SYNCHRONIZING, _WINDOWS), (MPI.File, _TOGETHER, {"Open"})):
        _guard(cls, filter(together.fullmatch, vars(cls)), _of_several)
        _guard(cls, opening, _on_several)
    _guard(MPI.Intracomm, ("Spawn", "Spawn_multiple"), _spawning)


def _guard(cls: Any, names: Iterable[str], why_not: Callable[..., str]) -> None:
    """Replace methods of a class of MPI's by ones that raise an error if `why_not` gives a reason."""
    replace_methods(cls, {name: _guarded(cls, name, why_not) for name in list(names)})


def _guarded(cls: Any, name: str, why_not: Callable[..., str]) -> Any:
    call_original, static = getattr(cls, name), isinstance(getattr_static(cls, name), staticmethod | classmethod)

    @functools.wraps(call_original)
    def call(*arguments: Any, **named: Any) -> Any:
        if why := why_not(f"{cls.__name__}.{name}", *arguments, *named.values()):
            raise UsageError(why)
        return call_original(*arguments, **named)

    return staticmethod(call) if static else call


def _with_a_spare(call: str, comm: MPI.Comm, *arguments: Any) -> str:
    if not in_own_loop() or comm.Get_name() in (JOB, CARRIES_OTHERS):
        return ""
    groups = [comm.Get_group(), *([comm.Get_remote_group()] if isinstance(comm, MPI.Intercomm) else [])]
    if not any(MPI.Group.Intersection(group, _Spares.group).Get_size() for group in groups):
        return ""
    method = call.rpartition(".")[2]
    name = "MPI.COMM_WORLD" if comm == MPI.COMM_WORLD else "a communicator of MPI.COMM_WORLD's ranks"
    return f"{method} on {name} in the loop would wait for the spares, which take part in no step: use job.comm"


def _of_several(call: str, shared: MPI.Win | MPI.File, *arguments: Any) -> str:
    who = shared.Get_group()
    processes = who.Get_size()
    who.Free()
    return _hangs(call, processes)


def _on_several(call: str, *arguments: Any) -> str:
    sizes = [one.Get_size() for one in arguments if isinstance(one, MPI.Comm) and not isinstance(one, NoHandle)]
    return _hangs(call, max(sizes, default=1))


def _hangs(call: str, processes: int) -> str:
    if processes == 1 or not (in_own_loop() or MPI.COMM_WORLD.Get_failed().Get_size()):
        return ""
    kind = call.partition(".")[0]
    where, remedy = ("in", _INSTEAD[kind]) if in_own_loop() else ("after", "leave it out")
    return f"{call} of {processes} ranks {where} the loop would wait for a dead one for ever: {remedy}"


def _spawning(call: str, *arguments: Any) -> str:
    if not in_own_loop():
        return ""
    return f"{call.rpartition('.')[2]} in the loop starts processes that no recovery reaches: use subprocess"
