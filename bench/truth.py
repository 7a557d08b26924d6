"""The product compared with others on this machine: other tools' links, and the kernel's patterns.

The real kernel: two network namespaces on a cable that tc's tbf limits (`scripts/two-hosts`), TCP between them.
demos.links measures it and writes a network file; then the same demos run there and on simulated ranks with that file,
by eager sends (`_SENDS`). The line is slow, and its limit lets no more than 1 ms pass at once: ranks that share cores
begin milliseconds apart, and a bucket of 32 KB carried half of each 64 KiB for nothing.
Patterns whose messages meet at a card run on four hosts, and on simulated ranks with and without `sharing = "packet"`
and a protocol. The network model has neither losses by full buffers nor estimates of a line's bandwidth, so TCP's
congestion control is Reno and the buffers hold 3 s: with BBR, the default of some kernels, all-to-all took 20 %
more. What is left, and why, is said in `_WHY`.
SMPI of SimGrid, which has nothing of a kernel, runs the same patterns as simulated ranks. What is not installed is
named, and skipped; the last line says how long it took.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import _meeting as _meetings
from bench import _smpi
from bench._common import Row, output, row
from emulator import carrier, results, sim
from emulator.errors import CheckFailed
from emulator.launch import mpirun
from emulator.network import files

_ROOT = Path(__file__).resolve().parents[1]
_LINE = ["--rate", "20mbit", "--queue", "3s", "--congestion", "reno"]
_RATE = _LINE[1]
_HOSTS = 4
_LIMIT_S = 150.0  # for a job that hangs: its part is left out
_ALL_S = 600.0
_BUSY = 1.0  # load average
_CANNOT = 77  # status of scripts/two-hosts where a machine has no namespaces
_TOOLS = {"osu_latency": ["osu_latency"], "IMB-MPI1": ["IMB-MPI1", "PingPong"]}
_PROBED = "8,1K,4K,16K,64K:1M"
"""More long messages than short ones: beta is theirs, and what the limit lets pass at once shortens the short ones."""
_PATTERNS = {"ring": "256K,1M", "incast": "256K,1M", "parameter_server": "256K,1M"}
_MEDIAN, _WORST = 5.0, 15.0  # percent


def rows(budget: float) -> Iterator[Row]:
    """Compare patterns with SMPI and the real kernel, and links with other tools; links within `budget` seconds."""
    began = time.monotonic()
    if (load := os.getloadavg()[0]) > _BUSY:
        yield row("this machine is busy: what follows is not to be trusted; processes that run", load)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {
            "patterns under SMPI": _smpi.rows(folder),
            "links of other tools": _links(folder, budget / 4),
            "patterns on the real kernel": _kernel(folder, budget / 2),
            "messages that meet": _meeting(folder),
        }
        for what, part in parts.items():
            try:
                yield from part
            except CheckFailed as error:
                yield row(f"{what}: not compared: {error}", None)
    yield row("all of this took", time.monotonic() - began, "s", most=_ALL_S)


def _links(folder: Path, budget: float) -> Iterator[Row]:
    """alpha and beta of two ranks of this machine by demos.links, and by each tool that is here."""
    options = ["-n", "2", "--quiet", "--launches", "1", "--budget", f"{budget:g}", "--out", str(folder / "l")]
    output([sys.executable, "-m", "demos.links", *options], _LIMIT_S)
    fit = results.load(folder / "l")["fits"][0]
    ours = {"alpha": fit["alpha"]["value"] * 1e6, "beta": fit["beta"]["value"] * 1e9}
    programs = {"mpi4py.bench pingpong": [sys.executable, "-m", "mpi4py.bench", "pingpong", "-n", str(4 << 20)]}
    programs |= {name: words for name, words in _TOOLS.items() if shutil.which(name)}
    for name, words in programs.items():
        _, text = output([*mpirun.command(2, [])[:-1], *words], _LIMIT_S)
        theirs = _terms(text, folder / "text") if name in _TOOLS else _of_table(text)
        for term, unit in (("alpha", "us"), ("beta", "ns/B")):
            yield row(f"link between two ranks: {term} (other: {name})", ours[term], unit, theirs[term])
    for name in _TOOLS.keys() - programs.keys():
        yield row(f"{name}: not installed, not compared", None)


def _terms(text: str, path: Path) -> dict[str, float]:
    from emulator.measure import benchmark_text

    path.write_text(text)
    found = benchmark_text.read(str(path))
    return {"alpha": found["alpha"] * 1e6, "beta": found["beta"] * 1e9}


def _of_table(text: str) -> dict[str, float]:
    """Fit alpha (us) and beta (ns/B) to mpi4py.bench's table as to our own points."""
    from emulator.measure.fit import fit
    from emulator.measure.model import MESSAGE, Point

    found = re.findall(r"^\s*(\d+)\s+[\d.]+ \| ([\d.e+-]+)", text, re.MULTILINE)
    headline = fit([Point(int(size), MESSAGE, [float(mean)]) for size, mean in found]).headline
    return {"alpha": headline.alpha * 1e6, "beta": headline.beta * 1e9}


def _kernel(folder: Path, budget: float) -> Iterator[Row]:
    """Compare patterns on four hosts limited by tbf with simulated ranks with terms measured between two."""
    net = folder / "measured.toml"
    common = ["--quiet", "--budget", f"{budget:g}", "--out"]
    probe = [*common, str(folder / "k"), "--alone", "--sizes", _PROBED, "--save", str(net)]
    if (why := _in_namespaces(["1", *_demo("links"), *probe], _SENDS["eager"])) is not None:
        yield row(f"the real kernel is not compared: {why}", None)
        return
    errors = []
    for name, sizes in _PATTERNS.items():
        options = ["--sizes", sizes, "--ranks", f"2,{_HOSTS}", *common]
        alone = ["--alone"] * (name == "ring")
        _in_namespaces(
            ["--hosts", str(_HOSTS), "1", *_demo(name), *options, str(folder / name), *alone], _SENDS["eager"]
        )
        emulated = [str(folder / f"{name}-emulated"), "--simulate", str(_HOSTS), "--net", str(net)]
        output([*_demo(name), *options, *emulated], _LIMIT_S)
        real, ours = (_medians(folder / one) for one in (name, f"{name}-emulated"))
        for key in [key for key in real if key in ours]:
            what, ranks, size, _ = key
            errors.append(_error(ours[key], real[key]))
            label = f"{what}, {ranks} ranks, {size} bytes, {_RATE}: emulated (other: kernel)"
            yield row(label, 1e3 * ours[key], "ms", 1e3 * real[key])
    yield from _errors("patterns on the real kernel", errors)


_WAYS = {
    "packet, eager": ("eager", 'sharing = "packet"\n', ""),
    "packet, TCP's protocol": ("rendezvous", "", '[protocol]\npreset = "openmpi-tcp"\n'),
    "message": ("rendezvous", "", ""),
}
"""How Open MPI sends there, and what stands before and after the link's terms in the network file for it."""
_EAGER = 2 * _meetings.LONG
_SENDS = {
    "eager": [f"OMPI_MCA_btl_tcp_{name}={_EAGER}" for name in ("eager_limit", "rndv_eager_limit", "max_send_size")],
    "rendezvous": [],
}
"""Settings of Open MPI; without any it sends by rendezvous from 64 KiB."""
_HELD = "parameter_server", "short message beside a long one"
_TERMS = "short_ping_pong", "eager_ping_pong", "long_ping_pong"
_SHORT = "short_beside_long", "short message beside a long one"
"""What is shorter than the machine's noise, or has to wait for it: the short message has a target of its own."""
_OUTSIDE = ("ring_of_64_kib_blocks",)
"""What the model has no term for, by rendezvous; eager it is measured by demos.ring as well."""
_WHY = (
    "a ring of 64 KiB blocks by rendezvous: the end of a block waits behind the next one; no term for it; eager, not",
    "a ring, all to all: acknowledgements take 2 % of a card that sends and receives",
    "ranks that share cores are late: what is short, or waits for an answer, takes longer",
)


def _meeting(folder: Path) -> Iterator[Row]:
    """Patterns whose messages meet at cards, on four hosts and on simulated ranks with terms of their ping-pongs."""
    seen: dict[str, dict[str, float]] = {}
    for how, settings in _SENDS.items():
        found = folder / f"{how}.json"
        program = [sys.executable, "-m", "bench._meeting", str(found)]
        if (why := _in_namespaces(["--hosts", str(_HOSTS), "1", *program], settings)) is not None:
            yield row(f"messages that meet are not compared: {why}", None)
            return
        seen[how] = json.loads(found.read_text())
    for label, (how, head, tail) in _WAYS.items():
        real = seen[how]
        alpha = real["short_ping_pong"] / 2
        beta = (real["long_ping_pong"] / 2 - (3 if how == "rendezvous" else 1) * alpha) / _meetings.LONG
        network = files.parse(head + files.section("link", alpha, beta) + tail)
        ours = sim.run(_simulated, _HOSTS, network).results[0]
        for name, seconds in real.items():
            text = f"{name.replace('_', ' ')}, {_RATE}, {label} (other: kernel)"
            yield row(text, 1e3 * ours[name], "ms", 1e3 * seconds)
        if label != "message":
            yield from _errors(
                label, [_error(ours[name], real[name]) for name in real if name not in _TERMS + _SHORT + _OUTSIDE]
            )
            server, short = (ours[name] / real[name] for name in _HELD)
            yield row(f"{label}: a parameter server's error", 100 * abs(server - 1), "%", most=10)
            text = f"{label}: a short message beside a long one: the larger time over the smaller"
            yield row(text, max(short, 1 / short), most=2)
    for line in _WHY:
        yield row(line, None)


def _error(ours: float, real: float) -> float:
    return 100 * abs(ours / real - 1)


def _errors(what: str, errors: Sequence[float]) -> Iterator[Row]:
    yield row(f"{what}: median error", statistics.median(errors), "%", most=_MEDIAN)
    yield row(f"{what}: worst error", max(errors), "%", most=_WORST)


def _simulated(comm: Any) -> dict[str, float]:
    return _meetings.measure(comm, 1, lambda: carrier.of(comm).align())


def _medians(folder: Path) -> dict[tuple[Any, ...], float]:
    """Seconds by what was measured between hosts."""
    rows = results.load(folder)["measurements"]
    return {(one["pattern"], one["ranks"], one["bytes"], one.get("senders")): one["seconds"]["median"]
            for one in rows if one["pattern"] not in ("link", "reduction", "native")}  # fmt: skip


def _demo(name: str) -> list[str]:
    return [sys.executable, "-m", f"demos.{name}"]


def _in_namespaces(words: Sequence[str], settings: Sequence[str] = ()) -> str | None:
    """Run scripts/two-hosts with settings of Open MPI; returns the reason if this machine cannot."""
    command = ["env", *settings, str(_ROOT / "scripts" / "two-hosts"), *_LINE, *words]
    status, text = output(command, _LIMIT_S, passed=[_CANNOT])
    return text.strip().removeprefix("two-hosts: cannot run here: ") if status else None
