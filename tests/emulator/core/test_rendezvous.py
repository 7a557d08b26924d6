"""Rendezvous and overheads on simulated and on emulated ranks, beside their closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator import carrier, costs, sim
from emulator.errors import UsageError
from emulator.network import Network
from emulator.network.files import parse
from emulator.network.protocol import Protocol
from tests.emulator.core import protocol_times as prices
from tests.emulator.small_networks import ALPHA, BETA, plain
from tests.ranks import on_ranks

BUSY = Protocol(eager_limit=1000, send_overhead=3e-6, receive_overhead=5e-6, send_byte=1e-10, receive_byte=2e-10)
N = 200_000


def network(protocol: Protocol = BUSY, sharing: str = "message") -> Network:
    return plain(protocol=protocol, sharing=sharing)


def now(comm: Any) -> float:
    return carrier.of(comm).now()


@pytest.mark.parametrize("sharing", ["message", "packet"])
@pytest.mark.parametrize("late", [0.0, 1e-3])
@pytest.mark.parametrize("n", [0, 1000, 1001, N])
def test_a_message_and_a_late_receiver(n: int, late: float, sharing: str) -> None:
    def program(comm: Any) -> float:
        x = np.zeros(n, np.uint8)
        if comm.rank == 0:
            comm.Send(x, 1)
        else:
            carrier.of(comm).compute(late)
            comm.Recv(x, 0)
        return now(comm)

    seen = sim.run(program, 2, network(sharing=sharing)).results
    assert seen[1] == pytest.approx(prices.message(n, ALPHA, BETA, BUSY, late), rel=1e-9)
    if sharing == "message":
        assert seen[0] == pytest.approx(prices.sent(n, ALPHA, BETA, BUSY, late), rel=1e-9)


def test_a_chain_and_a_ring_of_long_messages() -> None:
    def chain(comm: Any) -> float:
        x = np.zeros(N, np.uint8)
        if comm.rank:
            comm.Recv(x, comm.rank - 1)
        if comm.rank + 1 < comm.size:
            comm.Send(x, comm.rank + 1)
        return now(comm)

    waits = Protocol(eager_limit=1000)
    assert sim.run(chain, 5, network(waits)).results[-1] == pytest.approx(prices.chain(4, N, ALPHA, BETA, waits))


def test_an_incast_of_blocking_sends_waits_for_each_receive_in_turn() -> None:
    """The second may send its bytes when the first is received: nothing of it comes meanwhile."""

    def program(comm: Any) -> float:
        x = np.zeros(N, np.uint8)
        for source in range(1, comm.size) if comm.rank == 0 else ():
            comm.Recv(x, source)
        if comm.rank:
            comm.Send(x, 0)
        return now(comm)

    waits = Protocol(eager_limit=1000)
    expected = ALPHA + 3 * (2 * ALPHA + N * BETA)
    assert sim.run(program, 4, network(waits)).results[0] == pytest.approx(expected, rel=1e-9)
    assert sim.run(program, 4, plain()).results[0] == pytest.approx(costs.seconds("incast", 3, N, ALPHA, BETA))


def test_eager_and_rendezvous_messages_keep_their_order_and_their_payloads() -> None:
    def program(comm: Any) -> list[Any]:
        sizes = [10, 5000, 20, 3000]
        if comm.rank == 0:
            sends = [comm.Isend(np.full(n, i, np.uint8), 1, i) for i, n in enumerate(sizes)]
            for send in sends:
                send.Wait()
            return [now(comm)]
        status, seen = MPI.Status(), []
        for i, n in enumerate(sizes):
            x = np.zeros(n, np.uint8)
            comm.Probe(0, i, status)
            comm.Recv(x, 0, i)
            seen.append((status.Get_count(MPI.BYTE), set(x.tolist())))
        return seen

    for sharing in ("message", "packet"):
        seen = sim.run(program, 2, network(sharing=sharing)).results[1]
        assert seen == [(10, {0}), (5000, {1}), (20, {2}), (3000, {3})]


@on_ranks(2, size=[1000, N], sharing=["message", "packet"])
def test_emulated_ranks(comm: MPI.Intracomm, size: int, sharing: str) -> None:
    world = emulator.emulate(comm, network(sharing=sharing))
    start, x = world.align(), np.full(size, 7, np.uint8)
    if world.rank == 0:
        world.Send(x, 1)
        if sharing == "message":
            assert world.now() - start == pytest.approx(prices.sent(size, ALPHA, BETA, BUSY, 1e-3), rel=1e-9)
    else:
        emulator.compute(world, 1e-3)
        x[:] = 0
        world.Recv(x, 0)
        assert (x == 7).all()
        assert world.now() - start == pytest.approx(prices.message(size, ALPHA, BETA, BUSY, 1e-3), rel=1e-9)


def test_files() -> None:
    link = '[link]\nlatency = "1 us"\nbandwidth = "1 GB/s"\n'
    spec = parse(link + '[protocol]\npreset = "openmpi-tcp"\nsend_overhead = "1 us"').spec
    assert spec.protocol == Protocol(eager_limit=65_472, send_overhead=1e-6)
    assert spec.sharing == "packet"
    assert parse('sharing = "message"\n' + link + '[protocol]\npreset = "openmpi-tcp"').spec.sharing == "message"
    assert parse(link).spec.protocol is None
    for text, message in {
        "[protocol]": r"protocol: it says nothing: give eager_limit, an overhead, or preset",
        "[protocol]\neager_limit = 0": "protocol.eager_limit: must be at least 1 byte, got 0",
        '[protocol]\npreset = "mpich"': r"protocol\.preset must be 'openmpi-tcp'.*got 'mpich'",
        "[protocol]\neager = 1": "there is no field 'eager' here: did you mean 'eager_limit'",
        '[protocol]\nsend_overhead = "3"': r"protocol\.send_overhead: ",
    }.items():
        with pytest.raises(UsageError, match=message):
            parse(link + text)
