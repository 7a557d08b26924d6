"""The clocks that several ranks share, in one memory mapping per machine: network cards, shared links, the pace.

A card that serves one rank, and nothing else, is touched without a lock. Everything that two ranks may touch is
under a record lock (fcntl), which the kernel gives back when its holder is killed: a rank that dies inside leaves
nobody waiting.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from collections.abc import Sequence

from mpi4py import MPI

from emulator.errors import UsageError
from emulator.network import Network

PACING = 8
LINKS_LOCK, PACING_LOCK = 0, 1
_CLAIMED = 1  # of the cells for the pacer


class Board:
    """Shared cells of 8 bytes: ``pacing``, two queues of `per_queue` cells for each host, one for each shared link.

    Attributes
    ----------
    cells : all cells as floats
    pacing : the first of them, for the pacer
    shared : for each host, whether more than one rank uses its card
    machines : how many real machines the job runs on
    ranks_here, leads : how many ranks this machine runs, and whether this one speaks for them
    """

    def __init__(self, control: MPI.Intracomm, network: Network, per_queue: int) -> None:
        size = control.Get_size()
        placed = [network.host_of(rank) for rank in range(size)]
        self.hosts = len(network.hosts)
        self.shared = [placed.count(host) > 1 for host in range(self.hosts)]
        self._per_queue = per_queue
        length = 8 * (PACING + per_queue * (2 * self.hosts + len(network.links)))
        machine: MPI.Intracomm = control.Split_type(MPI.COMM_TYPE_SHARED)  # type: ignore[assignment]
        homes = control.allgather(machine.bcast(control.Get_rank()))
        _check_machines(homes, placed, network)
        self.machines = len(set(homes))
        self.ranks_here = machine.Get_size()
        self.leads = machine.Get_rank() == 0
        self._file = _common_file(machine, length)
        self._map = mmap.mmap(self._file, length)
        self.cells = memoryview(self._map).cast("d")
        self.pacing = self.cells[:PACING]
        machine.Free()

    def egress(self, host: int) -> int:
        """Give the first cell of the queue out of a host."""
        return PACING + 2 * host * self._per_queue

    def ingress(self, host: int) -> int:
        """Give the first cell of the queue into a host."""
        return self.egress(host) + self._per_queue

    def link(self, index: int) -> int:
        """Give the first cell of a shared link's queue."""
        return self.egress(self.hosts) + index * self._per_queue

    def claim(self) -> bool:
        """Tell whether this rank is the first of its machine to ask."""
        self.lock(1 + _CLAIMED)
        first = not self.pacing[_CLAIMED]
        self.pacing[_CLAIMED] = 1.0
        self.unlock(1 + _CLAIMED)
        return first

    def lock(self, which: int) -> None:
        """Wait for lock `which`: LINKS_LOCK, PACING_LOCK, or 1 + a cell that it protects."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, which)

    def unlock(self, which: int) -> None:
        """Give lock `which` back."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, which)


def _common_file(machine: MPI.Intracomm, length: int) -> int:
    """Open one nameless file of `length` zero bytes on every rank of a machine."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    path = ""
    if machine.Get_rank() == 0:
        file, path = tempfile.mkstemp(prefix="emulator-", dir=folder)
        os.ftruncate(file, length)
    path = machine.bcast(path)
    if machine.Get_rank() != 0:
        file = os.open(path, os.O_RDWR)
    machine.Barrier()
    if machine.Get_rank() == 0:
        os.unlink(path)
    return file


def _check_machines(machines: Sequence[int], placed: Sequence[int], network: Network) -> None:
    """Refuse a layout in which a card or a link would have to be shared across real machines.

    `machines` names each rank's real machine, `placed` its emulated host.
    """
    if len(set(machines)) == 1:
        return
    homes: dict[int, int] = {}
    for rank, host in enumerate(placed):
        if homes.setdefault(host, machines[rank]) != machines[rank]:
            raise UsageError(
                f"ranks of one emulated host must run on one real machine, host {network.hosts[host].name!r} has some "
                f"on two: map ranks by node, or give the network as many ranks per host as a machine has"
            )
    if network.links:
        raise UsageError(
            f"a link that hosts share needs all ranks on one real machine, network {network.name!r} has "
            f"{len(network.links)} and this job {len(set(machines))} machines: choose a topology without shared links"
        )
