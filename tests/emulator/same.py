"""Cases that run on a bare communicator and on an emulated one: both must say the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

import emulator
from tests.emulator.small_networks import plain

Case = Callable[[Any], Any]
_twins: dict[Any, Any] = {}


class Cases(list[Case]):
    """The cases of a module, each a function of a communicator that returns what it saw."""

    def __call__(self, function: Case) -> Case:
        self.append(function)
        return function


def envelope(status: MPI.Status) -> tuple[int, int, int]:
    return status.Get_source(), status.Get_tag(), status.Get_count(MPI.BYTE)


def error_of(function: Callable[[], Any]) -> int:
    """The class of the MPI error that a call raises; 0 if it raises none."""
    try:
        function()
    except MPI.Exception as error:
        return error.Get_error_class()
    return 0


def _twin(**options: Any) -> Any:
    """The world on an emulated network, made once for each kind."""
    key = tuple(options.items())
    if key not in _twins:
        _twins[key] = emulator.emulate(MPI.COMM_WORLD, plain(), **options)
    return _twins[key]


def same_as_mpi(comm: MPI.Intracomm, function: Case) -> None:
    """Run a case on MPI itself and on an emulated network without pacing."""
    emulated = _twin()
    expected = function(comm)
    comm.Barrier()
    assert function(emulated) == expected, inspect.getdoc(function)


def same_when_paced(comm: MPI.Intracomm, function: Case) -> None:
    """Run a case on MPI itself and on an emulated network that is tied to the wall."""
    emulated = _twin(pace=20.0, compute="measured")
    expected = function(comm)
    comm.Barrier()
    emulated.align()
    assert function(emulated) == expected, inspect.getdoc(function)
