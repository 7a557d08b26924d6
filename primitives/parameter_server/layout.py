"""Which ranks are servers and which are workers, and which servers keep which shard.

    shard i's chain = the first `replicas` living servers from server i on, in server order:

        servers      0   1   2   3            replicas = 2
        shard 0      H-->T                    pushes enter at the head H and are handed on down the chain,
        shard 1          H-->T                pulls are answered by the tail T: what a worker has read
        shard 2              H-->T            is in every replica, so no acknowledgement is needed
        shard 3      T<----------H            (van Renesse and Schneider, "Chain Replication", OSDI 2004)

With replicas = 1 head and tail are the same server. Every replica runs the same state machine on the same messages;
that a worker has died is such a message too, from the head, so that its last push counts everywhere or nowhere.
When a server dies its neighbours in the chain close the gap; a head's successor becomes head, and workers send
again what no reply has confirmed yet. (Only if a server within a chain of three or more dies together with a worker,
a push of that worker which the server had not handed on is missing below it: no living rank can send it again.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from emulator.errors import UsageError
from primitives.parameter_server.placement import Placement, place
from primitives.parameter_server.table import Table


@dataclass
class Layout:
    """Roles over the ranks of one communicator.

    Attributes
    ----------
    size : ranks of the communicator
    servers, workers : their ranks; a rank may be both
    tables : what is stored
    replicas : servers that keep each shard
    dead : ranks to go on without

    Raises
    ------
    UsageError
        No server, no worker, a rank that does not exist or is named twice, or more replicas than servers.
    """

    size: int
    servers: Sequence[int]
    workers: Sequence[int]
    tables: Sequence[Table]
    replicas: int = 1
    dead: set[int] = field(default_factory=set)
    _chains: dict[int, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _chains_without: set[int] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for role, ranks in (("server", self.servers), ("worker", self.workers)):
            if not ranks:
                raise UsageError(f"a parameter server needs at least one {role}, got 0 of {self.size} ranks")
            if len(set(ranks)) != len(ranks) or not all(0 <= r < self.size for r in ranks):
                raise UsageError(
                    f"{role} ranks must be distinct and lie between 0 and {self.size - 1}, got "
                    f"{', '.join(map(str, ranks))}: start more ranks or name fewer {role}s"
                )
        if not 1 <= self.replicas <= len(self.servers):
            raise UsageError(f"replicas must lie between 1 and the {len(self.servers)} servers, got {self.replicas}")
        if not self.tables:
            raise UsageError("a parameter server needs at least one table, got none")

    @cached_property
    def placements(self) -> list[Placement]:
        """The placement of each table; shards are numbered like servers."""
        return [place(table.placement, table.rows, len(self.servers)) for table in self.tables]

    @property
    def shards(self) -> range:
        """Numbers of the shards, one per server."""
        return range(len(self.servers))

    def chain(self, shard: int) -> list[int]:
        """Ranks of the living replicas of `shard`, head first; the list is not to be changed.

        The replicas are those of the start: a server that was not one of them has no copy to offer.

        Raises
        ------
        UsageError
            All of them are dead.
        """
        if self._chains_without != self.dead:  # every message asks for its chain, and deaths are rare
            self._chains, self._chains_without = {}, set(self.dead)
        if (known := self._chains.get(shard)) is not None:
            return known
        first = [self.servers[(shard + i) % len(self.servers)] for i in range(self.replicas)]
        living = [rank for rank in first if rank not in self.dead]
        if not living:
            raise UsageError(
                f"shard {shard} is lost: its {self.replicas} replica(s) were on ranks {first}, all dead: "
                f"use more replicas"
            )
        self._chains[shard] = living
        return living

    def kept_by(self, server: int) -> list[int]:
        """Shards of which rank `server` keeps a replica."""
        index = list(self.servers).index(server)
        return [(index - i) % len(self.servers) for i in range(self.replicas)]

    def table(self, name: str) -> int:
        """Index of a table.

        Raises
        ------
        UsageError
            There is no table of that name.
        """
        for index, table in enumerate(self.tables):
            if table.name == name:
                return index
        raise UsageError(f"no table {name!r}: there are {', '.join(t.name for t in self.tables)}")


def roles(
    size: int, servers: int | Sequence[int], workers: int | Sequence[int] | None = None
) -> tuple[list[int], list[int]]:
    """Ranks of the servers and of the workers.

    Parameters
    ----------
    size : ranks of the communicator
    servers : how many (the first ranks), or the ranks themselves
    workers : how many (the first ranks that do not serve; None: all of them), or the ranks themselves

    Raises
    ------
    UsageError
        `size` ranks are too few.
    """
    if isinstance(servers, int) and not isinstance(workers, Sequence):
        need = servers + (1 if workers is None else workers)
        if servers < 1 or (workers is not None and workers < 1) or size < need:
            raise UsageError(
                f"{servers} server(s) and {workers or 'at least 1'} worker(s) need {max(2, need)} ranks, got {size}: "
                f"start more ranks or ask for fewer roles (both must be >= 1)"
            )
    serving = list(range(servers)) if isinstance(servers, int) else list(servers)
    if isinstance(workers, Sequence):
        return serving, list(workers)
    others = [rank for rank in range(size) if rank not in serving]
    return serving, others if workers is None else others[:workers]
