"""MPI methods that are not emulated: they raise an error instead of running at this machine's own speed."""

from __future__ import annotations

import functools
from typing import Any

from mpi4py import MPI

from emulator.comm.compiled_classes import replace_methods
from emulator.errors import UsageError


class NotEmulated(UsageError, NotImplementedError):
    """A method of MPI that the emulated network does not support."""

    def __init__(self, method: str, detail: str = "", instead: str = "") -> None:
        remedy = instead or "use point-to-point messages or a blocking collective"
        super().__init__(f"{method} {detail + ' ' if detail else ''}is not emulated and would run unslowed: {remedy}")


_BLOCKING = (
    "Iallgather Iallgatherv Iallreduce Ialltoall Ialltoallv Ialltoallw Ibarrier Ibcast Iexscan Igather Igatherv "
    "Ireduce Ireduce_scatter Ireduce_scatter_block Iscan Iscatter Iscatterv "
    "Allgather_init Allgatherv_init Allreduce_init Alltoall_init Alltoallv_init Alltoallw_init Barrier_init Bcast_init "
    "Exscan_init Gather_init Gatherv_init Reduce_init Reduce_scatter_block_init Reduce_scatter_init Scan_init "
    "Scatter_init Scatterv_init"
)
_C_LIBRARY = "a library in C or Fortran needs communicators and requests of MPI's own"
REFUSED: dict[str, str] = {
    name: instead
    for names, instead in {
        _BLOCKING: "use the blocking collective",
        "Create_cart Create_graph Create_dist_graph Create_dist_graph_adjacent Cart_map Graph_map":
            "compute the neighbours' ranks yourself",
        "Accept Connect Join Spawn Spawn_multiple Create_intercomm":
            "start all processes with mpirun, or emulate the merged communicator",
        "Idup Idup_with_info Ishrink": "use the blocking form",
        "Psend_init Precv_init": "use Send_init and Recv_init",
        "Bsend_init Iflush_buffer": "use Bsend, or Isend",
        "Alltoallw": "use Alltoallv, or Isend and Irecv",
        "Create_from_group": "use Create_group",
        "py2f toint handle": _C_LIBRARY,
    }.items()
    for name in names.split()
}  # fmt: skip


def _refusal(name: str, instead: str) -> Any:
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        raise NotEmulated(name, instead=instead)

    method.__name__, method.__doc__ = name, f"Refused: {instead}."
    return property(method) if name == "handle" else method


class NoHandle:
    """An emulated MPI object: its handle is null, and passing it to a C library raises an error.

    A null communicator is an error there, but a null request is complete, and what it stands for is not.
    """

    __slots__ = ()

    def __ne__(self, other: object) -> bool:  # MPI's own compares handles
        return not self == other

    def refusal(self, method: str, instead: str) -> UsageError:
        """The error of a call that needs a communicator of MPI itself and got this object."""
        return NotEmulated(method, instead=instead)


class Refused(NoHandle):
    """Base class in which every method of `REFUSED` raises `NotEmulated`."""


for _name, _instead in REFUSED.items():
    if hasattr(MPI.Intracomm, _name):
        setattr(NoHandle if _instead is _C_LIBRARY else Refused, _name, _refusal(_name, _instead))


_OTHER_PROCESSES = "start all processes with mpirun"


@functools.cache
def refuse_outside() -> None:
    """Make MPI functions that take a communicator refuse emulated ones by name, or use the real one.

    Once per process. Without this they would fail as well, for the handle is null, but with an error that explains
    nothing, or, in a library that ignores MPI's return codes, with none.
    """
    for cls, names in ((MPI.Win, _WINDOWS), (MPI.File, ("Open",)), (MPI.Message, _PROBES)):
        guarded = {name: _guard(f"{cls.__name__}.{name}", getattr(cls, name)) for name in names}
        replace_methods(cls, {name: staticmethod(method) for name, method in guarded.items()})
    for kind in (MPI.Comm, MPI.Intracomm):
        copy = _guard(f"MPI.{kind.__name__}(communicator)", kind.__new__, "use the communicator itself", first=1)
        replace_methods(kind, {"__new__": staticmethod(copy)})
    create = _guard("Create_intercomm", MPI.Intracomm.Create_intercomm, "use one communicator", first=1)
    replace_methods(MPI.Intracomm, {"Create_intercomm": create})
    replace_methods(
        MPI.Datatype, {name: _on_the_real_one(getattr(MPI.Datatype, name)) for name in ("Pack", "Unpack", "Pack_size")}
    )
    replace_methods(MPI.Comm, {"Compare": _compare(MPI.Comm.Compare)})
    for name in ("_addressof", "_handleof"):
        setattr(MPI, name, _guard(f"MPI.{name}", getattr(MPI, name), _C_LIBRARY))


def refuse_in_program() -> None:
    """Refuse calls that start other processes or make communicators that are not emulated."""
    for cls, names in _OTHERS.items():
        for name in names.split():
            replace_methods(cls, {name: classmethod(_refusal(f"{cls.__name__}.{name}", _OTHER_PROCESSES))})


_OTHERS: dict[type, str] = {
    MPI.Intracomm: "Accept Connect Spawn Spawn_multiple Create_from_group",
    MPI.Comm: "Join",
    MPI.Intercomm: "Create_from_groups",
    MPI.Session: "Init",
}
_PROBES = ("Probe", "Iprobe", "probe", "iprobe")
_WINDOWS = ("Create", "Allocate", "Allocate_shared", "Create_dynamic")


def _guard(
    name: str, original: Any, instead: str = "use messages, or a communicator of MPI's own", first: int = 0
) -> Any:
    """Wrap a function so that it refuses objects without a handle among its arguments from `first` on."""

    def call(*arguments: Any, **named: Any) -> Any:
        for value in (*arguments[first:], *named.values()):
            if isinstance(value, NoHandle):
                raise value.refusal(name, instead)
        return original(*arguments, **named)

    call.__name__, call.__doc__ = name.rpartition(".")[2], original.__doc__
    return call


def _on_the_real_one(original: Any) -> Any:
    """Wrap a function that sends nothing so that it uses the real communicator of an emulated one."""

    def real(value: Any) -> Any:
        return value.native if isinstance(value, Refused) else value  # type: ignore[attr-defined]

    @functools.wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        return original(*map(real, arguments), **{name: real(value) for name, value in named.items()})

    return call


def _compare(original: Any) -> Any:
    """Wrap the comparison of communicators so that an emulated one compares itself with the other."""

    @functools.wraps(original)
    def call(one: Any, comm: Any) -> Any:
        if isinstance(comm, Refused) and not isinstance(one, Refused):
            one, comm = comm, one
        return one.Compare(comm) if isinstance(one, Refused) else original(one, comm)  # type: ignore[attr-defined]

    return call
