"""Tests that run inside an MPI job.

``@on_ranks(16, p=[1, 2, 3], dtype=["f4", "f8"])`` makes one pytest test of each combination. The selected cases with
the same number of ranks run in one ``mpirun``, in order, those of several modules together; each rank writes what it
saw and pytest turns that into results. A case that hangs is ended after its limit with the stacks of every rank; the
cases behind it in its module are reported as not run, and the modules behind it run in another ``mpirun``.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
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
_TOGETHER = 18  # modules that share a launch: each launch imports MPI and numpy anew on every rank
_reports: dict[tuple[str, int], dict[str, Any]] = {}
_failed: set[tuple[str, int, str]] = set()
_launches: dict[int, dict[str, str]] = {}
_selected: dict[tuple[int, str], dict[str, list[str]]] = {}


def launch_of(module: str, n: int) -> str:
    """The name of the launch that runs the cases of a module on `n` ranks, beside those of some other modules."""
    launches = _launches.setdefault(n, {})
    return launches.setdefault(module, f"ranks-{n}-{len(launches) // _TOGETHER}")


def select(module: str, n: int, case: str) -> None:
    """Note a case that pytest will run."""
    _selected.setdefault((n, launch_of(module, n)), {}).setdefault(module, []).append(case)


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
        cases = cases_of(function.__name__, parameters)
        if inside():
            registry = sys.modules[function.__module__].__dict__.setdefault(_REGISTRY, [])
            registry += [(n, label, function, values, net, emulation or {}) for label, values in cases.items()]
            return function
        import pytest

        @pytest.mark.parametrize("case", list(cases), ids=[label.partition("[")[2].rstrip("]") for label in cases])
        def test(case: str) -> None:
            _report(function.__module__, n, case)

        test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
        test.ranks = n  # type: ignore[attr-defined]
        return test

    return decorate


def cases_of(name: str, parameters: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """The parameters of each combination, by the name of its case."""
    combinations = [dict(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())]
    return {_label(name, values): values for values in combinations}


def inside() -> bool:
    """Whether this is a rank of a job that runs cases."""
    return _INSIDE in os.environ


def _label(name: str, values: dict[str, Any]) -> str:
    return f"{name}[{'-'.join(str(getattr(v, '__name__', v)) for v in values.values())}]"


def _report(module: str, n: int, case: str) -> None:
    """Fail as the case failed on any rank; a failed case that is run again is launched alone."""
    if (module, n) not in _reports:
        _reports.update(_launch(_batch(module, n), n))
    outcome = _reports[module, n]
    if (module, n, case) in _failed:
        outcome = _launch({module: [case]}, n)[module, n]
    _failed.add((module, n, case))
    _raise_failures(outcome, n, case)
    _failed.discard((module, n, case))


def _raise_failures(outcome: dict[str, Any], n: int, case: str) -> None:
    failures = [f"rank {rank}:\n{text}" for rank, seen in outcome["ranks"].items() if (text := seen.get(case))]
    missing = [rank for rank, seen in outcome["ranks"].items() if case not in seen]
    if failures:
        raise AssertionError("\n".join(failures[:3]) + f"\n({len(failures)} of {n} ranks failed)")
    if missing or len(outcome["ranks"]) < n:
        raise AssertionError(f"{case} was not run on ranks {missing or 'that wrote no report'}:\n{outcome['output']}")


def _batch(module: str, n: int) -> dict[str, list[str]]:
    """The cases to launch together with those of `module`: of it and of the modules behind it in its launch."""
    modules = _selected[n, launch_of(module, n)]
    names = list(modules)
    return {name: modules[name] for name in names[names.index(module) :]}


def _launch(batch: dict[str, list[str]], n: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Run the cases of some modules in one job; what every rank reports, of each module that was begun."""
    from emulator.launch import mpirun
    from emulator.launch.job import start

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cases").write_text(json.dumps(batch))
        command = mpirun.command(n, ["-m", "tests.ranks"])
        with open(Path(folder) / "output", "w+") as output:
            job = start(command, extra_env={_INSIDE: folder}, stdout=output, stderr=subprocess.STDOUT, cwd=_root())
            with job:
                status = job.wait(timeout=600)
            leftovers = job.leftovers()
            output.seek(0)
            text = f"mpirun ended with status {status}\n{output.read()[-6000:]}"
        reports = {}
        for number, module in enumerate(batch):
            ranks = {path.stem: _read(path) for path in sorted((Path(folder) / str(number)).glob("*.jsonl"))}
            if ranks or number == 0:
                reports[module, n] = {"ranks": ranks, "output": text}
    assert not leftovers, f"processes left by the job of {', '.join(batch)}: {leftovers}"
    return reports


def _root() -> Path:
    return Path(__file__).resolve().parent.parent


def _read(path: Path) -> dict[str, str]:
    return dict(json.loads(line) for line in path.read_text().splitlines())


class _NotInRanks:
    """Stands for hypothesis, whose import takes as long as numpy's: a rank runs no property test."""

    __path__ = ()  # of a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self

    __or__ = __call__


def _run_all() -> None:
    """In a rank: run the cases of every module in order."""
    from mpi4py import MPI

    sys.modules["hypothesis"] = _NotInRanks()  # type: ignore[assignment]
    world = MPI.COMM_WORLD.Dup()
    folder = Path(os.environ[_INSIDE])
    for number, (module, cases) in enumerate(json.loads((folder / "cases").read_text()).items()):
        importlib.import_module(module)
        (folder / str(number)).mkdir(exist_ok=True)
        with (folder / str(number) / f"{world.Get_rank()}.jsonl").open("w", buffering=1) as report:
            for ranks, label, *case in getattr(sys.modules[module], _REGISTRY, []):
                if ranks == world.Get_size() and label in cases:
                    faulthandler.dump_traceback_later(LIMIT, exit=True)
                    outcome, comm = _run(*case)
                    report.write(json.dumps([label, outcome]) + "\n")
                    _meet(world)
                    # A failed case may leave requests behind that Free would wait for.
                    if not outcome:
                        comm.Free()
                    faulthandler.cancel_dump_traceback_later()


def _run(
    function: Callable[..., None], values: dict[str, Any], net: str | None, emulation: dict[str, Any]
) -> tuple[str, Any]:
    """Run one case; returns what went wrong, "" for nothing, and the communicator."""
    comm = _communicator(net, emulation)
    try:
        function(comm, **values)
    except BaseException:
        return traceback.format_exc(), comm
    return "", comm


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
        _run_all()
    gc.freeze()  # else the interpreter's end searches for cycles among all that was imported, for 0.1 s
