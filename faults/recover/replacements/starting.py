"""Processes that one rank starts while it works, for a running job to admit once they are ready.

    the rank        asks mpirun for them ─ works on ─────────── hears that all are ready ─ tells them the port
    new processes        start ─ import ─ MPI_Init ─ come to their loop: say so on a socket ─ wait, asleep ─ connect

`MPI_Comm_spawn` would hold the rank until the new processes have initialized MPI, some hundred milliseconds or as long
as their imports take. Open MPI itself spawns by a call of PMIx, the interface to mpirun, and that is called here alone:
from a thread, and MPI is not in it. The socket (`faults.recover.replacements.new_process`) tells each side of the
other's death.

Source: PMIx Standard 5.0, chapter "Process Management", ``PMIx_Spawn``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from mpi4py import MPI

from faults.platform import LOCAL
from faults.recover.replacements import new_process

_SPAWN_S = 15.0  # some twenty times what it takes 16 ranks on 2 cores
_BOOL, _STRING = 1, 3  # PMIX_BOOL, PMIX_STRING
_OF_MPIRUN = ("OMPI_MCA_PREFIXES", "OMPI_MCA_num_procs", "OMPI_MCA_initial_wdir", "OMPI_MCA_cpu_type")
_TOO_FEW = MPI.ERR_SPAWN


class _App(ctypes.Structure):  # pmix_app_t
    _fields_ = (
        ("cmd", ctypes.c_char_p),
        ("argv", ctypes.POINTER(ctypes.c_char_p)),
        ("env", ctypes.POINTER(ctypes.c_char_p)),
        ("cwd", ctypes.c_char_p),
        ("maxprocs", ctypes.c_int),
        ("info", ctypes.c_void_p),
        ("ninfo", ctypes.c_size_t),
    )


class _Infos(ctypes.Structure):  # pmix_data_array_t
    _fields_ = (("type", ctypes.c_uint16), ("size", ctypes.c_size_t), ("array", ctypes.c_void_p))


class Newcomers:
    """New processes of this program, which mpirun starts; see `faults.recover.replacements.admission.Started`.

    Parameters
    ----------
    command : the program and its arguments
    count : how many, of which all or none are let in
    """

    def __init__(self, command: Sequence[str], count: int) -> None:
        self._count, self._began = count, LOCAL.clock.now()
        self._password = os.urandom(16).hex().encode()
        self._listener = socket.create_server(("", 0), backlog=count)
        self._listener.setblocking(False)
        self._came: list[socket.socket] = []
        self._known: set[socket.socket] = set()  # those that said the password
        self._waiting: set[socket.socket] = set()
        self.launched, self._refused = False, False
        address = f"{os.uname().nodename}:{self._listener.getsockname()[1]}:{self._password.decode()}"
        words = [sys.executable, "-I", "-S", new_process.__file__, address, *command]
        threading.Thread(target=self._launch, args=(words,), daemon=True).start()

    def _launch(self, command: Sequence[str]) -> None:
        settings = [f"{name}={value}" for name, value in os.environ.items() if _is_setting(name)]
        try:
            self._refused = _pmix_spawn(command, settings, self._count) != 0
        except (OSError, AttributeError):  # the library is not there, or has no such call
            self._refused = True
        self.launched = True

    def ready(self) -> bool:
        """Whether all of them wait to be admitted.

        Raises
        ------
        MPI.Exception
            They will not come: one has died, or mpirun has not started them in time.
        """
        with contextlib.suppress(BlockingIOError):
            while True:
                connection = self._listener.accept()[0]
                connection.setblocking(False)
                self._came.append(connection)
        for connection in [*self._came]:
            try:
                said = connection.recv(len(self._password))
            except BlockingIOError:
                continue
            except ConnectionError:
                said = b""
            if connection in self._known and not said:
                raise MPI.Exception(_TOO_FEW)
            if connection in self._known:
                self._waiting.add(connection)
            elif said == self._password:
                self._known.add(connection)
            else:  # not one of them
                self._came.remove(connection)
        late = len(self._known) < self._count and LOCAL.clock.now() - self._began > _SPAWN_S
        if self._refused or late:
            raise MPI.Exception(_TOO_FEW)
        return len(self._waiting) == self._count

    def call(self) -> str:
        """Open a port of this rank's MPI, tell all of them to connect to it, and return it."""
        port = MPI.Open_port()
        for connection in self._waiting:
            with contextlib.suppress(OSError):  # one has died: the connection will not come about
                connection.sendall(port.encode() + b"\n")
        return port

    def close(self) -> None:
        """Stop waiting for them: those that were not told to connect end themselves."""
        for one in (self._listener, *self._came):
            one.close()


def _is_setting(name: str) -> bool:
    """Whether a variable is a setting of Open MPI that mpirun gives to the first processes only."""
    return name.startswith("OMPI_MCA_") and name not in _OF_MPIRUN


def _pmix_spawn(command: Sequence[str], environment: Sequence[str], count: int) -> int:
    """Let mpirun start processes of this program in a world of their own; returns PMIx' status, 0 for success."""
    pmix = ctypes.CDLL(_pmix_library())
    pmix.PMIx_Info_list_start.restype = ctypes.c_void_p
    infos, array, world = ctypes.c_void_p(pmix.PMIx_Info_list_start()), _Infos(), ctypes.create_string_buffer(256)
    pmix.PMIx_Info_list_add(infos, b"pmix.pers", ctypes.c_char_p(b"ompi"), _STRING)
    # Else mpirun ends all of these processes with the first one that dies, and its exit status tells of that.
    pmix.PMIx_Info_list_add(infos, b"pmix.recover", ctypes.byref(ctypes.c_bool(True)), _BOOL)
    pmix.PMIx_Info_list_convert(infos, ctypes.byref(array))
    words, settings = _strings(command), _strings(environment)
    app = _App(command[0].encode(), words, settings, os.getcwd().encode(), count, None, 0)
    of_job = ctypes.c_void_p(array.array), ctypes.c_size_t(array.size)
    return int(pmix.PMIx_Spawn(*of_job, ctypes.byref(app), ctypes.c_size_t(1), world))


def _strings(words: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(words) + 1))(*[os.fsencode(word) for word in words], None)


def _pmix_library() -> str:
    """The PMIx library that this process' MPI has loaded, where /proc shows it (Linux), else the system's.

    Raises
    ------
    OSError
        There is none.
    """
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else ():
        path = line[line.find("/") :]
        if "/libpmix.so" in path:
            return path
    from ctypes.util import find_library  # every rank pays for an import, and few come here

    if found := find_library("pmix"):
        return found
    raise OSError("no PMIx is loaded")
