"""Emulated and simulated times agree to the bit wherever no message of the emulated run was served out of order.

The emulated ranks live in this process (`tests.emulator.unpaced`), so that each case has the physical order that its
number says; `test_agreement.py` has real ones, and `python -m bench simulator` more orders, ranks and programs.
"""

from __future__ import annotations

from typing import Any

import pytest

from emulator.network.topology import Racks
from primitives.inbox import Inbox
from tests.emulator import unpaced
from tests.emulator.sim.differences import NETWORKS, differences, simulated
from tests.emulator.sim.programs import PROGRAMS
from tests.emulator.small_networks import ALPHA, BETA, plain


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ranks", [3, 8])
def test_times_agree_where_no_message_was_served_out_of_order(name: str, ranks: int) -> None:
    run, compared, wrong = differences(ranks, name, range(-1, 1), range(6))
    assert not wrong
    assert compared >= run / 4


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.startswith("all_reduce") or "rooted" in name])
@pytest.mark.parametrize("network", ["two ranks on each host", "racks"])
def test_collectives_whose_ranks_run_in_the_order_of_their_time_agree_on_shared_cards_and_links(
    name: str, network: str
) -> None:
    """So the rule for messages of one instant is kept by both; a tree's root, which is ahead of its clock, excepted."""
    laid = NETWORKS[network](8)
    expected, seen = simulated(PROGRAMS[name], 8, laid), unpaced.run(PROGRAMS[name], 8, laid, None)
    if not (seen.inversions + seen.swaps and "k_ary" in name):
        assert seen == expected


def test_a_link_serves_messages_in_the_order_in_which_they_come_to_it() -> None:
    """Rank 0 sends ten at once, which leave its card one after another; that of rank 1, in its rack, is the second."""

    def program(comm: Any) -> list[float]:
        rank, size, box = comm.rank, 100_000, bytearray(100_000)
        if rank == 0:
            requests = [comm.Isend(box, 2) for _ in range(10)]
        elif rank == 1:
            comm.compute(size * BETA / 2)
            requests = [comm.Isend(box, 3)]
        else:
            requests = [comm.Irecv(bytearray(size), rank - 2) for _ in range(10 if rank == 2 else 1)]
        times = []
        for request in requests:
            request.Wait()
            times.append(comm.now())
        return times

    network = plain(4, topology=Racks(2, BETA, 0.0))
    alpha, busy = network.path(0, 2).alpha, 100_000 * BETA
    seen = simulated(program, 4, network)
    assert seen.results[3] == pytest.approx([alpha + 2 * busy])
    assert seen.results[2] == pytest.approx([alpha + busy, *(alpha + (n + 1) * busy for n in range(2, 11))])
    assert seen.inversions + seen.swaps == 0


def test_an_inbox_takes_the_message_whose_first_byte_arrived_first() -> None:
    """As a receive from MPI.ANY_SOURCE does: that of the card's, although one of the same host is complete before."""

    def program(comm: Any) -> list[int]:
        inbox = Inbox(comm, 5, [1, 2])
        if comm.rank == 1:
            comm.compute(ALPHA + 2e-6)
            comm.Send(bytearray(1), 0, 5)
        elif comm.rank == 2:
            comm.Send(bytearray(10_000), 0, 5)
        left, order = [1, 2] if comm.rank == 0 else [], []
        while left:
            mail = inbox.next(owing=left)
            assert mail is not None
            order.append(mail[0])
            left.remove(mail[0])
        return order

    network = plain(4, per_host=2)
    for seen in (simulated(program, 4, network), unpaced.run(program, 4, network, None)):
        assert seen.results[0] == [2, 1]
