"""Threads of a rank that call the same communicators at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from tests.emulator.small_networks import plain
from tests.ranks import on_ranks

_TURNS = 150


def _talk(comm: Any, number: int) -> list[int]:
    """A thread's messages with the same thread of the other rank: blocking, probed, pickled, persistent, collective."""
    peer, tags = 1 - comm.rank, 10 * number
    box, seen = np.zeros(3, "i8"), []
    for turn in range(_TURNS):
        send = comm.isend([number, turn], peer, tags)
        message = comm.mprobe(peer, tags)
        seen.append(message.recv() == [number, turn])
        send.wait()
        comm.Sendrecv(np.full(3, turn), peer, tags + 1, box, peer, tags + 1)
        seen.append(bool((box == turn).all()))
        requests = [comm.Irecv(box, peer, tags + 2), comm.Isend(np.full(3, -turn), peer, tags + 2)]
        MPI.Request.Waitall(requests)
        seen.append(bool((box == -turn).all()))
    return seen


@on_ranks(2, pace=["none", 20.0])
def test_four_threads_talk_at_once(comm: MPI.Intracomm, pace: Any) -> None:
    world = emulator.emulate(comm, plain(), pace=pace, compute="measured")
    collective = [world.Dup() for _ in range(4)]

    def one(number: int) -> list[Any]:
        sums = [collective[number].allreduce(turn) for turn in range(10)]
        return [*_talk(world, number), sums == [2 * turn for turn in range(10)]]

    with ThreadPoolExecutor(4) as pool:
        assert all(all(seen) for seen in pool.map(one, range(4)))


@on_ranks(2)
def test_a_thread_that_waits_leaves_the_others_their_calls(comm: MPI.Intracomm) -> None:
    """The receive completes by an answer to what another thread sends later; each thread's CPU time is charged once."""
    world = emulator.emulate(comm, plain(), compute="measured")
    peer, got = 1 - world.rank, []
    waiting = threading.Thread(target=lambda: got.append(world.recv(source=peer, tag=1)))
    waiting.start()
    begin, used = world.now(), time.thread_time()
    while time.thread_time() - used < 0.05:
        pass
    assert 0.04 < world.now() - begin < 0.2
    world.send("question", peer, 0)
    world.send(world.recv(source=peer, tag=0), peer, 1)
    waiting.join()
    assert got == ["question"]
