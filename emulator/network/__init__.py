"""The emulated cluster as data: hosts, network cards, shared links, topologies, presets and network files.

`load` reads a preset or a file and needs pydantic; what it returns is plain data, which pickles small and is cheap
to import. So one rank loads it, and the others get a copy::

    network = comm.bcast(load("25gbe").sized(comm.size) if comm.rank == 0 else None)
"""

from emulator.network.model import Host, Link, Network, Nic, Path, Plan

__all__ = ["Host", "Link", "Network", "Nic", "Path", "Plan", "load", "presets"]


def load(name_or_path: str) -> Network:
    """Load a preset by its name, or a network file by its path.

    Raises
    ------
    emulator.errors.UsageError
        No such preset or file, or an invalid field: the message names field, value and legal range.
    """
    from emulator.network.files import load as load_file

    return load_file(name_or_path)


def presets() -> list[str]:
    """List the names of the networks that come with the emulator, from the fastest to the slowest."""
    from emulator.network.files import presets as list_presets

    return list_presets()
