"""The emulated cluster as data: hosts, network cards, shared links, topologies, presets and network files.

`load` reads a preset or a file and needs pydantic; what it returns is plain data, which pickles small and is cheap
to import. So one rank loads it, and the others get a copy::

    network = comm.bcast(load("25gbe").sized(comm.size) if comm.rank == 0 else None)
"""

from emulator.network.files import load, presets
from emulator.network.model import Host, Link, Network, NetworkSpec, Nic, Path

__all__ = ["Host", "Link", "Network", "NetworkSpec", "Nic", "Path", "load", "presets"]
