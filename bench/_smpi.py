"""The same patterns under SMPI of SimGrid (`bench/smpi.c`) and on simulated ranks.

Both have the plain latency-bandwidth model: 10 Gbit/s and 50 us between each two hosts, messages under way share cards
by max-min fairness, no time on processors. SMPI's rendezvous begins to send once the receive is posted; ours asks for
that over the network, which takes 2 alpha more, and 1 alpha where the receive is posted after the question has arrived.
Debian has SMPI in the package libsimgrid-dev.

Source: Degomme, Legrand, Markomanolis, Quinson, Stillwell and Suter, "Simulating MPI applications: the SMPI approach"
(2017).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mpi4py import MPI

from bench._common import Row, output, row
from emulator import carrier, sim
from emulator.network import Network, files

_ALPHA_S, _BETA = 50e-6, 8e-10  # seconds, seconds per byte
_RANKS, _SIZES = (2, 3, 4, 5, 7, 8, 12, 16), (1000, 10_000_000)
_LATE_S = 0.3
_LIMIT_S = 60.0
_MOST = 1.0  # percent
_EAGER, _RENDEZVOUS = "eager", "rendezvous"
_THRESHOLD = {_EAGER: 1 << 30, _RENDEZVOUS: 0}  # bytes up to which SMPI sends at once
_PROTOCOL = {_EAGER: "", _RENDEZVOUS: "[protocol]\neager_limit = 1\n"}
_MODEL = {
    "network/model": "CM02", "network/crosstraffic": 0, "network/latency-factor": 1, "network/bandwidth-factor": 1,
    "network/weight-S": 0, "surf/precision": 1e-12, "smpi/simulate-computation": "no", "smpi/host-speed": "1Gf",
}  # fmt: skip
_PLATFORM = f"""<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="all" prefix="host" suffix="" radical="0-{max(_RANKS) - 1}" speed="1Gf" bw="{1 / _BETA}Bps"
           lat="{_ALPHA_S / 2}s" sharing_policy="SPLITDUPLEX"/>
</platform>
"""
_ASKING: dict[str, Callable[[int], int]] = {
    "ping_pong": lambda p: 4,
    "exchange": lambda p: 2,
    "ring": lambda p: 4 * (p - 1),
    "doubling": lambda p: 2 * (p - 1).bit_length(),
    "all_to_all": lambda p: 2 * (p - 1),
    "incast": lambda p: 2,
    "outcast": lambda p: 2,
    "chain": lambda p: 2 * (p - 1),
    "incast_in_turns": lambda p: p,
    "late_receiver": lambda p: 1,
}
"""How many alpha the handshakes of a pattern on p ranks take, one after another."""


def rows(folder: Path) -> Iterator[Row]:
    """Compare each pattern at 2 to 16 ranks, with short and long messages; gives where they differ most."""
    if not (shutil.which("smpicc") and shutil.which("smpirun")):
        yield row("SMPI of SimGrid: smpicc and smpirun are not installed, not compared", None)
        return
    program = _built(folder)
    for protocol in (_EAGER, _RENDEZVOUS):
        network = files.parse(
            'sharing = "packet"\n' + files.section("link", _ALPHA_S, _BETA) + _PROTOCOL[protocol], "smpi.toml"
        )
        worst: dict[str, tuple[float, int, int, float, float]] = {}
        for ranks, size in ((ranks, size) for ranks in _RANKS for size in _SIZES):
            theirs, ours = _theirs(program, ranks, size, protocol), measure(ranks, size, network)
            for name, seconds in theirs.items():
                expected = seconds + (_ASKING[name](ranks) * _ALPHA_S if protocol == _RENDEZVOUS else 0.0)
                found = abs(ours[name] / expected - 1), ranks, size, ours[name], expected
                worst[name] = max(worst.get(name, found), found)
        asking = " and its handshakes" if protocol == _RENDEZVOUS else ""
        for name, (_, ranks, size, mine, other) in worst.items():
            label = f"{name.replace('_', ' ')}, {protocol}, worst: {ranks} ranks, {size} bytes (other: SMPI{asking})"
            yield row(label, 1e3 * mine, "ms", 1e3 * other)
        error = 100 * max(each[0] for each in worst.values())
        yield row(f"patterns under SMPI, {protocol}: worst error", error, "%", most=_MOST)


def _built(folder: Path) -> Path:
    """Compile the program of SMPI, and write the platform beside it."""
    program = folder / "smpi"
    (folder / "platform.xml").write_text(_PLATFORM)
    (folder / "hosts").write_text("".join(f"host{rank}\n" for rank in range(max(_RANKS))))
    output(["smpicc", "-O1", str(Path(__file__).with_name("smpi.c")), "-o", str(program)], _LIMIT_S)
    return program


def _theirs(program: Path, ranks: int, size: int, protocol: str) -> dict[str, float]:
    """Seconds of each pattern under SMPI."""
    thresholds = dict.fromkeys(("smpi/async-small-thresh", "smpi/send-is-detached-thresh"), _THRESHOLD[protocol])
    options = [f"--cfg={name}:{value}" for name, value in (_MODEL | thresholds).items()]
    start = ["smpirun", "-np", str(ranks), "-platform", "platform.xml", "-hostfile", "hosts", *options]
    _, text = output([*start, str(program), str(size)], _LIMIT_S, program.parent)
    return {name: float(seconds) for name, seconds in map(str.split, text.splitlines())}


def measure(ranks: int, size: int, network: Network) -> dict[str, float]:
    """Seconds of each pattern on simulated ranks, by name."""
    found: dict[str, float] = sim.run(lambda comm: _Patterns(comm, size).measure(), ranks, network).results[0]
    return found


class _Patterns:
    """The patterns of `smpi.c`, as calls of mpi4py."""

    def __init__(self, comm: Any, size: int) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.payload = sim.phantom(size, "u1")

    def measure(self) -> dict[str, float]:
        clock, found = carrier.of(self.comm), {}
        for name in _ASKING:
            begin = clock.align()
            getattr(self, name)()
            found[name] = clock.align() - begin
        return found

    def _send(self, to: int) -> None:
        self.comm.Send(self.payload, to)

    def _receive(self, source: int) -> None:
        self.comm.Recv(self.payload, source)

    def _swap(self, to: int, source: int) -> None:
        self.comm.Sendrecv(self.payload, to, 0, self.payload, source, 0)

    def ping_pong(self) -> None:
        if self.rank < 2:
            for act in (self._send, self._receive) if self.rank == 0 else (self._receive, self._send):
                act(1 - self.rank)

    def exchange(self) -> None:
        if self.rank < 2:
            self._swap(1 - self.rank, 1 - self.rank)

    def ring(self) -> None:
        for _ in range(2 * (self.size - 1)):
            self._swap((self.rank + 1) % self.size, (self.rank - 1) % self.size)

    def doubling(self) -> None:
        for far in (1 << bit for bit in range((self.size - 1).bit_length())):
            if self.rank ^ far < self.size:
                self._swap(self.rank ^ far, self.rank ^ far)

    def all_to_all(self) -> None:
        for far in range(1, self.size):
            self._swap((self.rank + far) % self.size, (self.rank - far) % self.size)

    def incast(self) -> None:
        if self.rank:
            self._send(0)
        else:
            MPI.Request.Waitall([self.comm.Irecv(self.payload, source) for source in range(1, self.size)])

    def outcast(self) -> None:
        if self.rank:
            self._receive(0)
        else:
            MPI.Request.Waitall([self.comm.Isend(self.payload, to) for to in range(1, self.size)])

    def chain(self) -> None:
        if self.rank:
            self._receive(self.rank - 1)
        if self.rank < self.size - 1:
            self._send(self.rank + 1)

    def incast_in_turns(self) -> None:
        if self.rank:
            self._send(0)
        else:
            for source in range(1, self.size):
                self._receive(source)

    def late_receiver(self) -> None:
        if self.rank == 0:
            self._send(1)
        elif self.rank == 1:
            carrier.of(self.comm).compute(_LATE_S)
            self._receive(0)
