"""What an emulated communicator does not do says so, instead of running at this machine's own speed."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from emulator.errors import UsageError


class NotEmulated(UsageError, NotImplementedError):
    """A method of MPI that the emulated network does not carry."""

    def __init__(self, method: str, detail: str = "", instead: str = "") -> None:
        remedy = instead or "use point-to-point messages or a blocking collective"
        super().__init__(f"{method} {detail + ' ' if detail else ''}is not emulated and would run unslowed: {remedy}")


def _words(*names: str) -> list[str]:
    return " ".join(names).split()


_BLOCKING = _words(
    "Iallgather Iallgatherv Iallreduce Ialltoall Ialltoallv Ialltoallw Ibarrier Ibcast Iexscan Igather Igatherv",
    "Ireduce Ireduce_scatter Ireduce_scatter_block Iscan Iscatter Iscatterv",
    "Allgather_init Allgatherv_init Allreduce_init Alltoall_init Alltoallv_init Alltoallw_init Barrier_init Bcast_init",
    "Exscan_init Gather_init Gatherv_init Reduce_init Reduce_scatter_block_init Reduce_scatter_init Scan_init",
    "Scatter_init Scatterv_init",
)
REFUSED: dict[str, str] = {
    **dict.fromkeys(_BLOCKING, "use the blocking collective"),
    **dict.fromkeys(
        _words("Create_cart Create_graph Create_dist_graph Create_dist_graph_adjacent Cart_map Graph_map"),
        "compute the neighbours' ranks yourself",
    ),
    **dict.fromkeys(
        _words("Accept Connect Join Spawn Spawn_multiple Create_intercomm"),
        "start all processes with mpirun, or emulate the merged communicator",
    ),
    **dict.fromkeys(_words("Idup Idup_with_info Ishrink"), "use the blocking form"),
    **dict.fromkeys(_words("Psend_init Precv_init"), "use Send_init and Recv_init"),
    **dict.fromkeys(_words("Bsend_init Iflush_buffer"), "use Bsend, or Isend"),
    "Alltoallw": "use Alltoallv, or Isend and Irecv",
    "Create_from_group": "use Create_group",
    "py2f": "a library in C or Fortran cannot use this communicator, run it on MPI.COMM_WORLD",
    "toint": "a library in C or Fortran cannot use this communicator, run it on MPI.COMM_WORLD",
    "handle": "a library in C or Fortran cannot use this communicator, run it on MPI.COMM_WORLD",
}


def _refusal(name: str, instead: str) -> Any:
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        raise NotEmulated(name, instead=instead)

    method.__name__, method.__doc__ = name, f"Refused: {instead}."
    return property(method) if name == "handle" else method


class Refused:
    """Every method in `REFUSED` raises `NotEmulated`."""


for _name, _instead in REFUSED.items():
    if hasattr(MPI.Intracomm, _name):
        setattr(Refused, _name, _refusal(_name, _instead))


def refuse_outside() -> None:
    """Make one-sided communication and parallel I/O refuse emulated communicators by name.

    Without this they would fail as well, for the handle is null, but with an error that explains nothing.
    """
    from emulator.comm.completion import replace_methods

    for cls, names in ((MPI.Win, _WINDOWS), (MPI.File, ("Open",))):
        replace_methods(cls, {name: _guard(cls, name) for name in names if hasattr(cls, name)})


_WINDOWS = ("Create", "Allocate", "Allocate_shared", "Create_dynamic")


def _guard(cls: type, name: str) -> Any:
    original = getattr(cls, name)

    def call(_: type, *arguments: Any, **named: Any) -> Any:
        if any(isinstance(value, Refused) for value in (*arguments, *named.values())):
            raise NotEmulated(f"{cls.__name__}.{name}", instead="use messages, or a communicator of MPI's own")
        return original(*arguments, **named)

    call.__name__, call.__doc__ = name, original.__doc__
    return classmethod(call)
