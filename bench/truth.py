"""The product beside others on this machine: other tools' links, and the real kernel's patterns beside emulated ones.

The real kernel: two network namespaces on a cable that tc's tbf limits (`scripts/two-hosts`), TCP between them.
demos.links measures it and writes a network file; then the same demos run there and on simulated ranks with that file.
What differs is what the network model leaves out: TCP's windows, tbf's burst, CPU per byte. Patterns whose messages
meet at a card run on four hosts, and on simulated ranks with and without `sharing = "packet"` and a protocol; what is
left of exchanges in both directions at once are probably acknowledgements behind the other direction's bytes.
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
_RATE, _BURST = "50mbit", "32kb"  # what tbf lets pass after a pause at full speed is little beside the messages
_EACH = 2  # ranks on each of two hosts
_LIMIT_S = 90.0  # for a job that hangs: its part is left out
_ALL_S = 600.0
_BUSY = 1.0  # load average
_CANNOT = 77  # status of scripts/two-hosts where a machine has no namespaces
_TOOLS = {"osu_latency": ["osu_latency"], "IMB-MPI1": ["IMB-MPI1", "PingPong"]}
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
    options = ["-n", "2", "--quiet", "--budget", f"{budget:g}", "--out", str(folder / "l")]
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
    """Terms of the table of mpi4py.bench by the fit that our own points get."""
    from emulator.measure.fit import fit
    from emulator.measure.model import MESSAGE, Point

    found = re.findall(r"^\s*(\d+)\s+[\d.]+ \| ([\d.e+-]+)", text, re.MULTILINE)
    headline = fit([Point(int(size), MESSAGE, [float(mean)]) for size, mean in found]).headline
    return {"alpha": headline.alpha * 1e6, "beta": headline.beta * 1e9}


def _kernel(folder: Path, budget: float) -> Iterator[Row]:
    """Patterns on two hosts behind tbf, and on simulated ranks with the terms that were measured there."""
    net, share = folder / "measured.toml", budget / (1 + len(_PATTERNS))
    probe = [
        "links",
        "--alone",
        "--budget",
        f"{share:g}",
        "--sizes",
        "8:1M",
        "--save",
        str(net),
        "--out",
        str(folder / "k"),
    ]
    if (why := _on_two_hosts(probe)) is not None:
        yield row(f"the real kernel is not compared: {why}", None)
        return
    errors = []
    for name, sizes in _PATTERNS.items():
        options = [name, "--sizes", sizes, "--ranks", f"2,{2 * _EACH}", "--budget", f"{share:g}", "--quiet", "--out"]
        _on_two_hosts([*options, str(folder / name), *["--alone"] * (name == "ring")])
        emulated = ["--simulate", str(2 * _EACH), "--net", str(net)]
        words = [*options[1:], str(folder / f"{name}-emulated"), *emulated]
        output([sys.executable, "-m", f"demos.{options[0]}", *words], _LIMIT_S)
        real, ours = (_medians(folder / one) for one in (name, f"{name}-emulated"))
        for key in [key for key in real if key in ours]:
            what, ranks, size, _ = key
            errors.append(100 * abs(ours[key] / real[key] - 1))
            label = f"{what}, {ranks} ranks, {size} bytes, {_RATE}: emulated (other: kernel)"
            yield row(label, 1e3 * ours[key], "ms", 1e3 * real[key])
    yield row("patterns on the real kernel: median error", statistics.median(errors), "%", most=_MEDIAN)
    yield row("patterns on the real kernel: worst error", max(errors), "%", most=_WORST)


_WAYS = {
    "message": ("", ""),
    "packet": ('sharing = "packet"\n', ""),
    "packet, TCP's protocol": ("", '[protocol]\npreset = "openmpi-tcp"\n'),
}
"""How messages share cards: what stands before and after the link's terms in a network file."""
_HELD = "parameter_server", "short message beside a long one"


def _meeting(folder: Path) -> Iterator[Row]:
    """Patterns whose messages meet at cards, on four hosts and on simulated ranks with terms of their ping-pongs."""
    found = folder / "meeting.json"
    program = [sys.executable, "-m", "bench._meeting", str(found)]
    if (why := _in_namespaces(["--hosts", "4", "1", *program])) is not None:
        yield row(f"messages that meet are not compared: {why}", None)
        return
    real = json.loads(found.read_text())
    alpha = real["short_ping_pong"] / 2
    beta = (real["long_ping_pong"] / 2 - 3 * alpha) / _meetings.LONG
    for label, (head, tail) in _WAYS.items():
        network = files.parse(head + files.section("link", alpha, beta) + tail)
        ours = sim.run(_simulated, 4, network).results[0]
        for name, seconds in real.items():
            yield row(
                f"{name.replace('_', ' ')}, {_RATE}, {label} (other: kernel)", 1e3 * ours[name], "ms", 1e3 * seconds
            )
        if label == "packet, TCP's protocol":
            server, short = (ours[name] / real[name] for name in _HELD)
            yield row("a parameter server's error", 100 * abs(server - 1), "%", most=10)
            yield row(
                "a short message beside a long one: the larger time over the smaller", max(short, 1 / short), most=2
            )


def _simulated(comm: Any) -> dict[str, float]:
    return _meetings.measure(comm, 1, lambda: carrier.of(comm).align())


def _medians(folder: Path) -> dict[tuple[Any, ...], float]:
    """Seconds by what was measured between hosts."""
    rows = results.load(folder)["measurements"]
    return {(one["pattern"], one["ranks"], one["bytes"], one.get("senders")): one["seconds"]["median"]
            for one in rows if one["pattern"] not in ("link", "reduction", "native")}  # fmt: skip


def _on_two_hosts(words: Sequence[str]) -> str | None:
    """Run a demo on two namespaces; the reason if this machine cannot."""
    return _in_namespaces([str(_EACH), sys.executable, "-m", f"demos.{words[0]}", *words[1:]])


def _in_namespaces(words: Sequence[str]) -> str | None:
    """Run scripts/two-hosts; the reason if this machine cannot."""
    command = [str(_ROOT / "scripts" / "two-hosts"), "--rate", _RATE, "--burst", _BURST, *words]
    status, text = output(command, _LIMIT_S, passed=[_CANNOT])
    return text.strip().removeprefix("two-hosts: cannot run here: ") if status else None
