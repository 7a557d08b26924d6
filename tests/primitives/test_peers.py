"""Tables of peers: state belongs to the communicator, and a table of all ranks costs no rank more than one."""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.carrier import Carrier
from primitives.gossip import graphs, mix, mixing
from primitives.peers import Messages, Peers


class Comm:
    """Just enough of a communicator to count its ranks."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.carrier = Carrier(self)  # type: ignore[arg-type]

    def Get_size(self) -> int:
        return self.size

    def Get_rank(self) -> int:
        return self.rank


class Meeting(Peers):
    """A table whose ranks live in one process: in the middle of the first one's exchange the others have theirs."""

    values: list[np.ndarray]
    meanwhile: Any = None

    def exchange(self, sends: Messages, receives: Messages, tag: int = 0) -> dict[int, int]:
        for position, array in receives:
            array[:] = self.values[position]
        if self.meanwhile is not None:
            self.meanwhile()
        return {position: array.nbytes for position, array in receives}


def test_ranks_of_one_process_do_not_receive_into_the_same_arrays() -> None:
    """One buffer for the process gave rank 0 the mean of what rank 1 had received: a wrong number, silently."""
    before = [np.array([0.0]), np.array([3.0]), np.array([9.0])]
    weights = mixing.metropolis(graphs.complete(3))
    tables = [Meeting(Comm(rank, 3)) for rank in range(3)]  # type: ignore[arg-type]
    results = [value.copy() for value in before]
    for table in tables:
        table.values = before
    tables[0].meanwhile = lambda: [mix(tables[rank], results[rank], weights) for rank in (1, 2)]
    mix(tables[0], results[0], weights)
    assert [value[0] for value in results] == [4.0, 4.0, 4.0]


def test_a_table_of_all_ranks_is_made_in_no_time() -> None:
    """With a list of members, p tables of p ranks in one process would take p squared."""
    peers = Peers(Comm(7, 10**12))  # type: ignore[arg-type]
    assert (peers.rank, peers.size, peers.members[9]) == (7, 10**12, 9)
