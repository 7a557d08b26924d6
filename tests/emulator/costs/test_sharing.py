"""Closed forms of messages that share cards packet by packet: by hand, and on simulated ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import carrier, costs, sim
from emulator.costs.servers import SHARINGS
from emulator.errors import UsageError
from emulator.network import Network
from emulator.network.files import parse
from tests.emulator.costs import shared_cards

ALPHA, BETA = 100e-6, 1e-9
N = 1_000_000


def network(how: str) -> Network:
    return parse(f'sharing = "{how}"\n[link]\nlatency = "100 us"\nbandwidth = "1 GB/s"\n')


def times(program: Callable[[Any], Any], p: int, how: str) -> list[Any]:
    return sim.run(program, p, network(how)).results


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 10**6)), min_size=1, max_size=6))
def test_a_card_does_the_same_work_in_either_way(messages: list[tuple[float, int]]) -> None:
    """The last message is through at the same time, and none before it alone would be."""
    firsts, sizes = [first for first, _ in messages], [size for _, size in messages]
    whole, packets = (shared_cards.ends(firsts, sizes, 1e-6, how) for how in SHARINGS)
    assert max(packets) == pytest.approx(max(whole), rel=1e-9)
    assert all(
        end >= (first + size * 1e-6) * (1 - 1e-9) for end, first, size in zip(packets, firsts, sizes, strict=True)
    )


def test_ends_by_hand() -> None:
    """10 bytes alone for 4 s, then beside 3 bytes until these are through at 10 s, then alone again."""
    assert shared_cards.ends([0, 4], [10, 3], 1.0, "packet") == pytest.approx([13, 10])
    assert shared_cards.ends([0, 4], [10, 3], 1.0) == [10, 13]
    assert shared_cards.ends([0, 0, 0], [1, 2, 3], 1.0, "packet") == pytest.approx([3, 5, 6])
    with pytest.raises(UsageError, match="sharing is one of message, packet, got 'fair'"):
        shared_cards.ends([0], [1], 1.0, "fair")


def _incast(comm: Any) -> Any:
    x = np.zeros(N, np.uint8)
    if comm.rank:
        comm.Send(x, 0)
        return None
    seen = []
    for source in range(1, comm.size):
        comm.Recv(x, source)
        seen.append(carrier.of(comm).now())
    return seen


@pytest.mark.parametrize("how", SHARINGS)
def test_an_incast_and_what_a_deadline_leaves_of_it(how: str) -> None:
    p = 5
    seen = times(_incast, p + 1, how)[0]
    assert seen == pytest.approx(shared_cards.ends([ALPHA] * p, [N] * p, BETA, how), rel=1e-9)
    assert seen[-1] == pytest.approx(costs.seconds("incast", p, N, ALPHA, BETA), rel=1e-9)
    for deadline in (0.0, ALPHA, 2e-3, 3.2e-3, 5.2e-3):
        assert shared_cards.arrived(deadline, p, N, ALPHA, BETA, how) == sum(end <= deadline for end in seen)


@pytest.mark.parametrize("how", SHARINGS)
def test_a_short_message_beside_a_long_one(how: str) -> None:
    def program(comm: Any) -> Any:
        x, short = np.zeros(N, np.uint8), np.zeros(4096, np.uint8)
        if comm.rank == 0:
            long = comm.Irecv(x, 1)
            comm.Recv(short, 2)
            seen = carrier.of(comm).now()
            long.Wait()
            return seen, carrier.of(comm).now()
        return comm.Send(x if comm.rank == 1 else short, 0)

    seen = times(program, 3, how)[0]
    assert seen[0] == pytest.approx(shared_cards.short_beside_long(4096, N, ALPHA, BETA, how), rel=1e-9)
    assert seen[1] == pytest.approx(ALPHA + BETA * (N + 4096), rel=1e-9)


@pytest.mark.parametrize("how", SHARINGS)
@pytest.mark.parametrize("p", [2, 4, 8])
def test_a_broadcast_to_all_children_at_once(how: str, p: int) -> None:
    def program(comm: Any) -> float:
        from primitives.collectives.rooted import broadcast

        broadcast(comm, np.zeros(N, np.uint8), 0)
        return carrier.of(comm).now()

    assert max(times(program, p, how)) == pytest.approx(
        shared_cards.binomial_broadcast(p, N, ALPHA, BETA, how), rel=1e-9
    )


@pytest.mark.parametrize(("workers", "servers"), [(3, 1), (4, 2), (2, 2), (2, 4)])
def test_a_parameter_server(workers: int, servers: int) -> None:
    """Pushes of all workers to each server, then its answers to all: 6 n beta for 3 workers."""

    def program(comm: Any) -> float:
        part = np.zeros(N // servers, np.uint8)
        those = range(servers) if comm.rank >= servers else range(servers, comm.size)
        for send_first in (True, False) if comm.rank >= servers else (False, True):
            if send_first:
                sends = [comm.Isend(part, other) for other in those]
            else:
                for receive in [comm.Irecv(part.copy(), other) for other in those]:
                    receive.Wait()
        for send in sends:
            send.Wait()
        return carrier.of(comm).now()

    expected = costs.seconds("parameter_server", workers, N, ALPHA, BETA, servers=servers, sharing="packet")
    assert max(times(program, workers + servers, "packet")) == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(2 * ALPHA + 2 * max(1, workers / servers) * N * BETA)
