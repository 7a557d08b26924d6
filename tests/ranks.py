"""Tests that run inside an MPI job.

``@on_ranks(16, p=[1, 2, 3], dtype=["f4", "f8"])`` makes one pytest test of each combination. All of a module's
cases with the same number of ranks run in one ``mpirun``, in order; each rank writes what it saw and pytest turns
that into results. A case that hangs is ended after its limit with the stacks of every rank, and the cases behind it
are reported as not run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT = 60.0  # seconds for one case; generous, because the machine may be busy
_REGISTRY = "__rank_cases__"
_INSIDE = "RANK_TESTS_REPORTS"
_reports: dict[tuple[str, int], dict[str, Any]] = {}


def on_ranks(
    n: int, *, net: str | None = None, emulation: dict[str, Any] | None = None, **parameters: list[Any]
) -> Callable[[Callable[..., None]], Any]:
    """Run the decorated ``test(comm, **parameters)`` on `n` ranks, on an emulated network if `net` names one.

    Parameters
    ----------
    net, emulation
        Network name or file, and further options of `emulator.emulate`; ``comm`` is then an `EmulatedComm`.
    parameters
        Lists; the test runs once for each combination.
    """

    def decorate(function: Callable[..., None]) -> Any:
        combinations = [
            dict(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())
        ]
        cases = {_label(function.__name__, values): values for values in combinations}
        if _INSIDE in os.environ:
            registry = sys.modules[function.__module__].__dict__.setdefault(_REGISTRY, [])
            registry += [(n, label, function, values, net, emulation or {}) for label, values in cases.items()]
            return function
        import pytest

        @pytest.mark.parametrize("case", list(cases), ids=[label.partition("[")[2].rstrip("]") for label in cases])
        def test(case: str) -> None:
            _report(function.__module__, n, case)

        test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
        return test

    return decorate


def _label(name: str, values: dict[str, Any]) -> str:
    return f"{name}[{'-'.join(str(getattr(v, '__name__', v)) for v in values.values())}]"


def _report(module: str, n: int, case: str) -> None:
    """Fail as the case failed on any rank."""
    if (module, n) not in _reports:
        _reports[module, n] = _launch(module, n)
    outcome = _reports[module, n]
    failures = [f"rank {rank}:\n{text}" for rank, seen in outcome["ranks"].items() if (text := seen.get(case))]
    missing = [rank for rank, seen in outcome["ranks"].items() if case not in seen]
    if failures:
        raise AssertionError("\n".join(failures[:3]) + f"\n({len(failures)} of {n} ranks failed)")
    if missing or len(outcome["ranks"]) < n:
        raise AssertionError(f"{case} was not run on ranks {missing or 'that wrote no report'}:\n{outcome['output']}")


def _launch(module: str, n: int) -> dict[str, Any]:
    from emulator.launch import mpirun

    with tempfile.TemporaryDirectory() as folder:
        command = mpirun.command(n, ["-m", "tests.ranks", module, str(n)])
        with open(Path(folder) / "output", "w+") as output:
            job = mpirun.start(
                command, extra_env={_INSIDE: folder}, stdout=output, stderr=subprocess.STDOUT, cwd=_root()
            )
            with job:
                status = job.wait(timeout=600)
            leftovers = job.leftovers()
            output.seek(0)
            text = output.read()[-6000:]
        ranks = {path.stem: _read(path) for path in sorted(Path(folder).glob("*.jsonl"))}
    assert not leftovers, f"processes left by the job of {module}: {leftovers}"
    return {"ranks": ranks, "output": f"mpirun ended with status {status}\n{text}"}


def _root() -> Path:
    return Path(__file__).resolve().parent.parent


def _read(path: Path) -> dict[str, str]:
    return dict(json.loads(line) for line in path.read_text().splitlines())


def _run_cases(module: str, n: int) -> None:
    """In a rank: run every case in order and note each outcome ("" is a pass)."""
    from mpi4py import MPI

    importlib.import_module(module)
    world = MPI.COMM_WORLD.Dup()
    path = Path(os.environ[_INSIDE]) / f"{world.Get_rank()}.jsonl"
    with path.open("w", buffering=1) as report:
        for ranks, label, function, values, net, emulation in getattr(sys.modules[module], _REGISTRY, []):
            if ranks != n:
                continue
            faulthandler.dump_traceback_later(LIMIT, exit=True)
            comm = _communicator(net, emulation)
            try:
                function(comm, **values)
                outcome = ""
            except BaseException:
                outcome = traceback.format_exc()
            report.write(json.dumps([label, outcome]) + "\n")
            _meet(world)
            # A failed case may leave requests behind that Free would wait for.
            if not outcome:
                comm.Free()
            faulthandler.cancel_dump_traceback_later()


def _communicator(net: str | None, emulation: dict[str, Any]) -> Any:
    from mpi4py import MPI

    if net is None:
        return MPI.COMM_WORLD.Dup()
    import emulator
    from emulator import network

    return emulator.emulate(MPI.COMM_WORLD, network.load(net), **emulation)


def _meet(world: Any) -> None:
    """Wait for the others, asleep; the case's limit ends a wait for a rank that hangs."""
    together = world.Ibarrier()
    while not together.Test():
        time.sleep(0.001)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _run_cases(sys.argv[1], int(sys.argv[2]))
