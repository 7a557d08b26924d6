"""mpi4py's communicators on an emulated network: `emulate(comm, network)` gives an `EmulatedComm`."""

from emulator.comm.communicator import EmulatedComm
from emulator.comm.emulate import emulate

__all__ = ["EmulatedComm", "emulate"]
