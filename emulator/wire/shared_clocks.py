"""The clocks that ranks share, in one memory mapping per machine: network cards, shared links, the pace.

A card that serves one rank, and nothing else, is touched without a lock. Everything that two ranks may touch is
under a record lock (fcntl), which the kernel releases when its holder is killed: a rank that dies inside blocks no
other.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpi4py import MPI

from emulator.core.cards import CELLS, Cards, Queue
from emulator.core.wall_clock import cores
from emulator.errors import UsageError
from emulator.wire import shared_flows
from emulator.wire.shared_flows import SharedFlows
from emulator.wire.wakeups import LINE, Wakeups

if TYPE_CHECKING:
    from emulator.network import Network

PACING = 8
LINKS_LOCK, PACING_LOCK = 0, 1
_CLAIMED = 1  # of the cells for the pacer


class RecordLock:
    """A lock on one byte of a file, which the kernel releases when its holder dies.

    Parameters
    ----------
    which : LINKS_LOCK, PACING_LOCK, or 1 + a cell that it protects
    """

    __slots__ = ("_file", "_which")

    def __init__(self, file: int, which: int) -> None:
        self._file, self._which = file, which

    def acquire(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, self._which)

    def release(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._which)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()


class SharedClocks:
    """Shared cells of 8 bytes: ``pacing``, two queues (`CELLS` each) for each host, one for each shared link.

    Attributes
    ----------
    cells : all cells as floats
    pacing : the first of them, for the pacer
    shared : for each host, whether more than one rank uses its card
    machines : how many real machines the job runs on
    ranks_here, is_leader : how many ranks this machine runs, and whether this one speaks for them
    wakeups : how ranks of this machine wake each other
    """

    def __init__(self, control: MPI.Intracomm, network: Network) -> None:
        size = control.Get_size()
        placed = [network.host_of(rank) for rank in range(size)]
        self.hosts = len(network.hosts)
        ranks = Counter(placed)
        self.shared = [ranks[host] > 1 for host in range(self.hosts)]
        self._links = len(network.links)
        self._asked = network.spec.protocol is not None  # receivers let messages go out of their senders' cards
        clocks = 8 * (PACING + CELLS * (2 * self.hosts + self._links))
        length = clocks + LINE - clocks % LINE + LINE * size
        machine: MPI.Intracomm = control.Split_type(MPI.COMM_TYPE_SHARED)  # type: ignore[assignment]
        homes = control.allgather(machine.bcast(control.Get_rank()))
        _check_machines(homes, placed, network)
        self.machines = len(set(homes))
        self.ranks_here = machine.Get_size()
        self.is_leader = machine.Get_rank() == 0
        self._file = common_file(machine, length)
        self._map = mmap.mmap(self._file, length)
        self.flows: SharedFlows | None = None
        if network.spec.sharing == "packet":
            file = common_file(machine, shared_flows.LENGTH)
            self.flows = SharedFlows(network, file, RecordLock(file, 0))
        self.cells = memoryview(self._map)[:clocks].cast("d")
        self.pacing = self.cells[:PACING]
        self.wakeups = Wakeups(self._map, length - LINE * size, control.Get_rank(), size, cores())
        machine.Free()

    def cards(self, host: int) -> Cards:
        """Make the queues that messages of a rank on this host pass."""
        begin, shared = PACING + 2 * host * CELLS, self.shared[host] or self._asked
        out, into = (
            Queue(self.cells, cell, self.lock(1 + cell) if shared else None) for cell in (begin, begin + CELLS)
        )
        out.remembers = shared  # the requests of one rank come in order
        first, links = PACING + 2 * self.hosts * CELLS, self.lock(LINKS_LOCK)
        shared_links = [Queue(self.cells, first + index * CELLS, links) for index in range(self._links)]
        return Cards(out, into, shared_links, self.flows, lambda other: self.cards(other).out)

    def is_first_to_ask(self) -> bool:
        """Whether this rank is the first of its machine to call this."""
        with self.lock(1 + _CLAIMED):
            first = not self.pacing[_CLAIMED]
            self.pacing[_CLAIMED] = 1.0
        return first

    def lock(self, which: int) -> RecordLock:
        """The lock on byte `which` of the shared file."""
        return RecordLock(self._file, which)


def common_file(machine: MPI.Intracomm, length: int) -> int:
    """Open one nameless file of `length` zero bytes on every rank of a machine."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    path = ""
    if machine.Get_rank() == 0:
        import tempfile  # with what it imports it takes 4 ms of a rank's start

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
    """Refuse a layout in which real machines would have to share a card or a link.

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
    protocol = network.spec.protocol
    if protocol is not None and protocol.eager_limit is not None:
        raise UsageError(
            f"protocol.eager_limit needs all ranks on one real machine, this job has {len(set(machines))}: simulate "
            "the ranks (--simulate P), or leave it out"
        )
    if network.spec.sharing == "packet":
        raise UsageError(
            f'sharing = "packet" needs all ranks on one real machine, this job has {len(set(machines))}: use simulated '
            'ranks (--simulate P), or sharing = "message"'
        )
    if network.links:
        raise UsageError(
            f"a link that hosts share needs all ranks on one real machine, network {network.name!r} has "
            f"{len(network.links)} and this job {len(set(machines))} machines: choose a topology without shared links"
        )
