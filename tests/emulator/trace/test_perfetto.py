"""The exported file: no overlap, and every message an arrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.trace import perfetto
from primitives.collectives.all_reduce import all_reduce
from tests.emulator.trace.perfetto_format import checked
from tests.emulator.trace.recorded import network, record


def _ring(comm: Any) -> None:
    all_reduce(comm, np.ones(8000), algorithm="ring", segment=0)


def _servers(comm: Any) -> None:
    """Two workers push to a server again and again, one of them with a slow start."""
    for turn in range(10):
        if comm.rank == 0:
            for _ in range(2):
                comm.Recv(bytearray(100_000))
            for worker in (1, 2):
                comm.Ssend(bytes(1000), worker, tag=turn)
        else:
            comm.compute(1e-3 * comm.rank)
            comm.Isend(bytes(100_000 >> turn), 0).Wait()
            comm.Probe(0, turn)
            comm.Recv(bytearray(1000), 0, turn)


@pytest.mark.parametrize(("program", "ranks", "flows"), [(_ring, 8, 2 * 7 * 8), (_servers, 3, 40)])
@pytest.mark.parametrize("net", ["plain", "cloud-zone", "wan"])
def test_slices_and_flows(tmp_path: Path, program: Any, ranks: int, flows: int, net: str) -> None:
    trace = record(program, ranks, net=network(ranks) if net == "plain" else net)
    found = checked(perfetto.write(trace, tmp_path / perfetto.FILE))
    assert len(found["s"]) == flows
    names = {event["args"]["name"] for event in found["M"] if event["name"] == "thread_name"}
    assert {f"rank {rank}" for rank in range(ranks)} <= names


def test_a_phase_lasts_until_the_next(tmp_path: Path) -> None:
    def program(comm: Any) -> None:
        for name in ("first", "second"):
            comm.carrier.phase(name, step=3)
            comm.compute(1e-3)
        comm.carrier.fault("kill", text="kill 0 @ step 3")

    found = checked(perfetto.write(record(program, 2), tmp_path / perfetto.FILE))
    phases = [event for event in found["X"] if event["name"] in ("first", "second")]
    assert [(event["name"], event["ts"], event["dur"], event["args"]) for event in phases] == [
        ("first", 0.0, 1000.0, {"step": 3}), ("second", 1000.0, 1000.0, {"step": 3}),
    ] * 2  # fmt: skip
    assert [event["name"] for event in found["i"]] == ["kill 0 @ step 3"] * 2
