"""Simulated ranks: CPU seconds and memory of whole programs, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from bench._common import Row, row
from emulator import results

_PROGRAM = """
import json, resource, sys, time
import numpy as np
from mpi4py import MPI
from emulator import sim
from emulator.network import load
from emulator.sim.schedule import replay
from primitives.collectives.all_reduce import all_reduce, prepare
from primitives.collectives.operations import Operation
from primitives.gossip import graphs, mix, mixing

def ring(comm):
    x = np.ones(1 << 18, np.float32)
    assert all_reduce(comm, x, algorithm="ring")[0] == comm.Get_size()

def phantom_ring(comm):
    x, y = sim.phantom(1 << 18), sim.phantom(1 << 18)
    all_reduce(comm, x, y, op=Operation("ignored", sim.ignore), algorithm="ring")

def doubling(comm):
    all_reduce(comm, np.ones(1), algorithm="recursive_doubling")

def plan(algorithm, size):
    def make(comm):
        x, y = sim.phantom(size // 4), sim.phantom(size // 4)
        return prepare(comm, x, y, op=Operation("ignored", sim.ignore), algorithm=algorithm)
    return make

def server(comm):
    if comm.Get_rank():
        comm.Send(np.ones(8), 0)
        comm.Recv(np.empty(8), 0)
        return
    status, box = MPI.Status(), np.empty(8)
    for _ in range(comm.Get_size() - 1):
        comm.Recv(box, MPI.ANY_SOURCE, status=status)
        comm.Send(box, status.Get_source())

def gossip(comm):
    graph = RING
    x = np.ones(8)
    for _ in range(3):
        mix(comm, x, graph)

def drill(ranks):
    import tempfile
    from pathlib import Path
    import emulator.network.build, faults.patterns.ring, faults.simulate.job
    from faults.drill import drill
    from faults.drill.request import Request

    request = Request("ring", ranks, ["kill 3 @ step 20"], "shrink", simulate=True)
    with tempfile.TemporaryDirectory() as folder:
        global begin
        begin = time.process_time()
        found = drill.run(request, Path(folder)).evaluations[0]
    assert found.recovered
    return sim.Outcome([], [found.seconds], 0)

ranks = int(sys.argv[2])
if sys.argv[1] == "gossip":
    RING = mixing.of_graph(graphs.ring(ranks))
begin = time.process_time()
PLANS = {"replayed_ring": ("ring", 1 << 20), "replayed_doubling": ("recursive_doubling", 8)}
if sys.argv[1] in PLANS:
    outcome = replay(plan(*PLANS[sys.argv[1]]), ranks, load("100gbe"))
elif sys.argv[1] == "drill":
    outcome = drill(ranks)
else:
    outcome = sim.run(globals()[sys.argv[1]], ranks, "100gbe")
print(json.dumps({
    "cpu": time.process_time() - begin, "messages": outcome.messages, "seconds": outcome.seconds,
    "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""

# program, ranks, what, most CPU seconds, most MB
_CASES: list[tuple[str, int, str, float, float]] = [
    ("ring", 256, "ring all-reduce of 1 MiB, real arrays", 4.0, 700.0),
    ("phantom_ring", 256, "ring all-reduce of 1 MiB, phantoms", 4.0, 700.0),
    ("replayed_ring", 1024, "ring all-reduce of 1 MiB, replayed schedule", 0.5, 100.0),
    ("replayed_ring", 4096, "ring all-reduce of 1 MiB, replayed schedule", 2.0, 100.0),
    ("replayed_doubling", 65_536, "recursive doubling, 8 B, replayed schedule", 8.0, 300.0),
    ("doubling", 1024, "recursive doubling, 8 B", 8.0, 500.0),
    ("server", 10_000, "server with ANY_SOURCE, one answer each", 6.0, 700.0),
    ("gossip", 10_000, "gossip on a ring, 3 rounds", 10.0, 1500.0),
    ("drill", 6, "drill of ring training, a kill and shrink, with its fault-free job, without imports", 0.5, 300.0),
    ("phantom_ring", 1024, "ring all-reduce of 1 MiB, phantoms", 25.0, 500.0),
]


_SEEDS = 3000


def _agreement() -> Row:
    """Number of random programs with the same result on simulated ranks as in the tests' second simulator."""
    from tests.emulator.sim import reference

    alike = sum(seen == expected for seen, expected in (reference.both(seed, 1 + seed % 3) for seed in range(_SEEDS)))
    return row(f"random programs as in the tests' second simulator, of {_SEEDS}", alike, least=_SEEDS)


def _emulated() -> Row:
    """Number of comparable programs with another result in the emulated engine, in any physical order."""
    from tests.emulator.sim.differences import NETWORKS, differences

    found = [differences(ranks, name, range(-1, 1), range(8)) for ranks in (2, 5, 9, 16) for name in NETWORKS]
    compared, wrong = sum(one[1] for one in found), sum(len(one[2]) for one in found)
    return row(f"programs that differ from the emulated engine, of {compared} that it ran in order", wrong, most=0)


def _real(ranks: int = 6, seeds: int = 300) -> Row:
    """Number of random programs with another result on real emulated ranks."""
    from emulator.launch import mpirun

    command = mpirun.command(ranks, ["-m", "tests.emulator.sim.differences", str(seeds)])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    compared, wrong = json.loads(done.stdout)
    return row(f"the same on {ranks} real ranks, of {compared} that they ran in order", len(wrong), most=0)


def _orders(budget: float) -> Row:
    """Number of message orders of a program of four ranks that a search tries in a minute of wall time."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "emulator", "search", "--simulate", "4", "--orders", "500", "--quiet",
                   "--budget", f"{budget:g}", "--out", folder + "/run", "examples/interleavings/start.py"]  # fmt: skip
        subprocess.run(command, capture_output=True, check=False)
        found = results.load(folder + "/run")
    tried = sum(one["times"] for one in found["endings"])
    return row("orders of a program's messages that a search tries, p = 4", 60 * tried / found["wall"], "a minute",
               least=2000.0)  # fmt: skip


def rows(budget: float) -> Iterator[Row]:
    """CPU time of each program; the last and longest one only with a budget of two minutes or more."""
    yield _agreement()
    yield _orders(budget)
    if budget >= 120:
        yield _emulated()
        yield _real()
    for program, ranks, what, most_cpu, most_mb in _CASES:
        if ranks == 1024 and program == "phantom_ring" and budget < 120:
            continue
        command = [sys.executable, "-c", _PROGRAM, program, str(ranks)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=budget)
        except subprocess.TimeoutExpired:
            yield {"name": f"{what}, p = {ranks}: not ended after {budget:g} s", "met": False}
            continue
        if done.returncode:
            yield {"name": f"{what}, p = {ranks}: {done.stderr.strip().splitlines()[-1][:60]}", "met": False}
            continue
        seen = json.loads(done.stdout)
        yield row(f"{what}, p = {ranks}, {seen['messages']} messages", seen["cpu"], "CPU s", most=most_cpu)
        yield row("    peak memory", seen["mb"], "MB", most=most_mb)
