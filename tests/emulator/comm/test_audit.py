"""Every public method of MPI.Intracomm is either emulated, harmless, or refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mpi4py import MPI

import emulator
from emulator.comm import completion
from emulator.comm.communicator import EmulatedComm
from emulator.comm.persistent import PersistentRequest
from emulator.comm.probes import EmulatedMessage
from emulator.comm.refused import REFUSED, NotEmulated
from emulator.comm.requests import EmulatedRequest
from tests.emulator.small_networks import plain
from tests.ranks import on_ranks

# They concern the process, or make values, and send nothing.
HARMLESS = {
    "Create_errhandler", "Create_keyval", "Free_keyval", "Get_parent", "f2py", "fromhandle", "fromint",
}  # fmt: skip


def public_names() -> list[str]:
    return [name for name in dir(MPI.Intracomm) if not name.startswith("_")]


@pytest.mark.parametrize("name", public_names())
def test_nothing_slips_through(name: str) -> None:
    """No inherited method of MPI.Intracomm is left to run on the null handle, or at the machine's own speed."""
    ours = any(name in vars(cls) for cls in EmulatedComm.__mro__ if cls.__module__.startswith("emulator."))
    assert ours or name in HARMLESS, f"{name} is neither emulated nor refused"


@pytest.mark.parametrize("name", sorted(set(REFUSED) & set(public_names())))
def test_a_refusal_is_what_callers_get(name: str) -> None:
    """Nothing that is refused is shadowed by something else, and the error names the method and a remedy."""
    bare = EmulatedComm.__new__(EmulatedComm)
    with pytest.raises(NotEmulated, match=rf"^{re.escape(name)} is not emulated.*: \w+"):
        getattr(bare, name)()


@pytest.mark.parametrize("cls", [EmulatedRequest, PersistentRequest, EmulatedMessage])
def test_requests_and_messages_give_their_null_handle_to_nobody(cls: type) -> None:
    """What is inherited of a null request would be complete at once, whatever it stands for."""
    harmless = {*HARMLESS, *completion.METHODS, "Startall", "Probe", "Iprobe", "probe", "iprobe", "free"}
    # Partitioned operations begin with Psend_init and Precv_init, which are refused.
    for name in (name for name in dir(cls) if not name.startswith(("_", "Pready", "Parrived"))):
        ours = any(name in vars(one) for one in cls.__mro__ if one.__module__.startswith("emulator."))
        assert ours or name in harmless, f"{name} is neither emulated nor refused"
    for name in ("handle", "py2f", "toint"):
        with pytest.raises(NotEmulated, match=name):
            getattr(cls.__new__(cls), name)()


def test_every_request_method_of_several_requests_is_replaced() -> None:
    several = {name for name in dir(MPI.Request) if name.endswith(("all", "any", "some"))}
    assert several == set(completion.METHODS)


@on_ranks(2)
def test_what_reaches_past_the_methods_fails(comm: MPI.Intracomm) -> None:
    """One-sided communication and parallel I/O refuse the communicator by name; compiled code finds no handle."""
    emulated = emulator.emulate(MPI.COMM_WORLD, plain())
    for name, call in {
        "Win.Allocate": lambda: MPI.Win.Allocate(8, comm=emulated),
        "Win.Create": lambda: MPI.Win.Create(bytearray(8), 1, MPI.INFO_NULL, emulated),
        "MPI._addressof": lambda: MPI._addressof(emulated),
        "MPI._handleof": lambda: MPI._handleof(emulated.irecv(source=emulated.rank)),
        "Message.Probe": lambda: MPI.Message.Probe(emulated),
        "File.Open": lambda: MPI.File.Open(emulated, str(Path("no") / "file")),
    }.items():
        with pytest.raises(NotEmulated, match=name):
            call()
    with pytest.raises(MPI.Exception):
        MPI.Intracomm.Barrier(emulated)
    window = MPI.Win.Allocate(8, comm=comm)
    window.Free()
