"""Randomly generated programs that every carrier must run alike: sends, receives, waits, probes, collectives."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

import emulator

ROUNDS = 6


class Seen(NamedTuple):
    """What a rank received, and its time after each round."""

    values: list[Any]
    times: list[float]


def program(comm: Any, seed: int) -> Seen:
    """Run `ROUNDS` rounds; in each, every rank sends some messages and receives those that are sent to it."""
    rank, p = comm.Get_rank(), comm.Get_size()
    draw, own = random.Random(seed), random.Random(seed * 1000 + rank)
    seen = Seen([], [])
    emulator.compute(comm, 1e-8 * np.sqrt(2.0 + rank))
    for _ in range(ROUNDS):
        # Every rank draws all messages of the round: (source, destination, tag, bytes).
        messages = [
            (draw.randrange(p), draw.randrange(p), draw.randrange(2), draw.choice([1, 100, 5000, 200_000]))
            for _ in range(draw.randrange(1, 3 * p))
        ]
        emulator.compute(comm, own.random() * 1e-4)
        sends = _send(comm, [message for message in messages if message[0] == rank], own)
        seen.values.extend(_receive(comm, [message for message in messages if message[1] == rank], own))
        MPI.Request.Waitall(sends)
        seen.times.append(comm.now())
        if draw.random() < 0.3:
            seen.values.append(comm.allreduce(rank))
        if draw.random() < 0.3:
            seen.values.append(_shifted(comm, draw.randrange(p), draw.choice([1, 5000])))
        if draw.random() < 0.2:
            part = comm.Split(rank % (1 + draw.randrange(3)), -rank).Dup()
            seen.values.append(part.allgather(rank))
    return seen


def _shifted(comm: Any, by: int, size: int) -> int:
    """Sendrecv round a ring; gives what came."""
    rank, p = comm.Get_rank(), comm.Get_size()
    box = np.empty(size, np.uint8)
    comm.Sendrecv(np.full(size, rank, np.uint8), (rank + by) % p, 2, box, (rank - by) % p, 2)
    return int(box[-1])


def _send(comm: Any, messages: list[Any], own: random.Random) -> list[Any]:
    requests = []
    for number, (_, destination, tag, size) in enumerate(messages):
        box = np.full(size, number % 251, np.uint8)
        requests.append((comm.Isend if own.random() < 0.8 else comm.Issend)(box, destination, tag))
        if own.random() < 0.5:
            emulator.compute(comm, own.random() * 1e-5)
        box = np.zeros(0, np.uint8)
    return requests


def _receive(comm: Any, messages: list[Any], own: random.Random) -> list[Any]:
    """Receive in one of several ways; returns what was received."""
    way = own.randrange(5)
    boxes = [np.zeros(size, np.uint8) for *_, size in messages]
    if way == 0:
        # One by one would wait for a synchronous send of this rank to itself in the wrong order: all are posted.
        requests = [comm.Irecv(box, source, tag) for box, (source, _, tag, _) in zip(boxes, messages, strict=True)]
        for request in requests:
            request.Wait()
    elif way == 1:
        requests = [comm.Irecv(box, source, tag) for box, (source, _, tag, _) in zip(boxes, messages, strict=True)]
        MPI.Request.Waitall(requests)
    elif way == 2:
        status = MPI.Status()
        for box, (source, _, tag, _) in zip(boxes, messages, strict=True):
            comm.Probe(source, tag, status)
            assert status.Get_count(MPI.BYTE) == box.size
            comm.Recv(box, source, tag)
    elif way == 3:
        requests = [comm.Recv_init(box, source, tag) for box, (source, _, tag, _) in zip(boxes, messages, strict=True)]
        MPI.Prequest.Startall(requests)
        MPI.Request.Waitall(requests)
    else:
        for box, (source, _, tag, _) in zip(boxes, messages, strict=True):
            comm.Mprobe(source, tag).Recv(box)
    return [(box.size, int(box[:1].sum())) for box in boxes]
