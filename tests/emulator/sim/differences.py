"""What emulated ranks without pacing and simulated ones are compared on: networks, programs, physical orders.

Hosts share cards, racks share uplinks, messages vary and get lost, cards are weakened, links are cut.
``mpirun -n 6 python -m tests.emulator.sim.differences 300`` compares real ranks on so many random programs.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mpi4py import MPI

import emulator
from emulator import sim
from emulator.control import Control
from emulator.network import Host, Network, NetworkSpec, Nic, Path
from emulator.network.jitter import Exponential
from emulator.network.loss import Loss
from emulator.network.topology import Racks
from tests.emulator import unpaced
from tests.emulator.sim import random_programs
from tests.emulator.sim.programs import PROGRAMS, Program
from tests.emulator.small_networks import ALPHA, BETA, plain

_RACKS = Racks(2, 2 * BETA, 1e-3)


def _unlike(ranks: int) -> Network:
    """Hosts with one of two cards and speeds, two ranks on most, in racks."""
    hosts = tuple(
        Host(f"h{number}", Nic(beta, 2 * beta, gap), slowdown, Path(ALPHA / 100, BETA / 10))
        for number, (beta, gap, slowdown) in zip(
            range(1 + ranks // 2), itertools.cycle([(BETA, 1e-6, 1.0), (3 * BETA, 0.0, 2.0)])
        )
    )
    return Network(NetworkSpec("unlike", "for tests", hosts, True, 0, "cyclic", ALPHA, BETA, topology=_RACKS), ranks)


def _weakened(program: Program) -> Program:
    """The program after half of the hosts have got weaker cards, and a cut has been planned."""

    def run(comm: Any) -> Any:
        state, half = comm.network_state, range(comm.Get_size() // 2)
        if comm.engine.host % 2:
            state.weaken(0.25)
        state.cut_at(half, range(len(half), comm.Get_size()), [(1e-4, 3e-4)])
        return program(comm)

    return run


NETWORKS: dict[str, Callable[[int], Network]] = {
    "one rank on each host": plain,
    "jitter and loss": partial(plain, jitter=Exponential(30e-6), loss=Loss(0.05, rto=0.01)),
    "two ranks on each host": partial(plain, per_host=2),
    "four ranks on each host": partial(plain, per_host=4),
    "racks": partial(plain, topology=_RACKS),
    "two ranks on each host in racks": partial(plain, per_host=2, topology=_RACKS),
    "unlike hosts in racks": _unlike,
}
_POLLING = ("server bsp", "server ssp", "server async", "federated")
"""These test their sends; without pacing such a test takes the clock to the end of the send."""


def cases(network: Network, seeds: range) -> Iterator[tuple[str, Program]]:
    """The programs that can be compared on a network."""
    shared = network.ranks > len(network.hosts)
    for title, program in PROGRAMS.items():
        if not (shared and title in _POLLING):
            yield title, program
    for seed in seeds:
        program = partial(random_programs.program, seed=seed)
        yield f"random {seed}", _weakened(program) if seed % 3 == 2 else program


def simulated(program: Program, ranks: int, network: Network) -> unpaced.Seen:
    """Run a program on simulated ranks."""

    def counting(comm: Any) -> Any:
        return program(comm), comm.engine

    found = sim.run(counting, ranks, network)
    engines = [engine for _, engine in found.results]
    results = [result for result, _ in found.results]
    inversions, swaps = (sum(count) for count in zip(*((e.inversions(), e.swaps()) for e in engines), strict=True))
    return unpaced.Seen(results, found.clocks, inversions, swaps)


def differences(ranks: int, name: str, orders: range, seeds: range) -> tuple[int, int, list[str]]:
    """Run every case in some physical orders (-1: the order of time); how many there are, could be compared, differ."""
    network = NETWORKS[name](ranks)
    run, compared, wrong = 0, 0, []
    for title, program in cases(network, seeds):
        expected = simulated(program, ranks, network)
        for order in orders:
            seen = unpaced.run(program, ranks, network, order if order >= 0 else None)
            run += 1
            if expected.inversions or expected.swaps or seen.inversions or seen.swaps:
                continue
            compared += 1
            if seen != expected:
                wrong.append(f"{title}, {ranks} ranks, order {order}")
    return run, compared, wrong


def alike(comm: Any, program: Program, network: Network) -> bool | None:
    """Run a program on the real ranks of `comm`, emulated, and on as many simulated ones.

    Whether they have returned the same at the same times; None if a message was served out of order.
    """
    emulated = emulator.emulate(comm, network)
    result = program(emulated)
    engine = emulated.engine
    control = Control(comm)  # the others sleep while rank 0 simulates
    rows = control.gather((result, engine.clock.t, engine.inversions() + engine.swaps()))
    found = None
    if rows is not None and not any(row[2] for row in rows):
        seen = simulated(program, comm.Get_size(), network)
        if not seen.inversions + seen.swaps:
            found = [row[:2] for row in rows] == list(zip(seen.results, seen.clocks, strict=True))
    return control.bcast(found)


def _compare_real_ranks(comm: Any, seeds: range) -> tuple[int, list[tuple[str, int]]]:
    """Run a random program of each seed on one of the networks; how many could be compared, and which differ."""
    compared, wrong = 0, []
    laid = [(name, make(comm.Get_size())) for name, make in NETWORKS.items()]
    for seed, (name, network) in zip(seeds, itertools.cycle(laid), strict=False):
        program = partial(random_programs.program, seed=seed)
        found = alike(comm, _weakened(program) if seed % 3 == 2 else program, network)
        compared += found is not None
        wrong += [(name, seed)] if found is False else []
    return compared, wrong


if __name__ == "__main__":
    outcome = _compare_real_ranks(MPI.COMM_WORLD, range(int(sys.argv[1])))
    if MPI.COMM_WORLD.Get_rank() == 0:
        print(json.dumps(outcome))
