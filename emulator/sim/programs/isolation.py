"""The state that each simulated rank of a program has of its own although all ranks share one process.

A program that is started once per rank expects modules, arguments, standard output and random numbers of its own. They
are put in place whenever the event loop switches to another rank: the program's modules in `sys.modules`, `sys.argv`,
`sys.path` and `sys.stdout`, `MPI.COMM_WORLD` and `MPI.COMM_SELF`, and the modules `random` and `numpy.random`.
Installed packages and the standard library are common to all ranks.
"""

from __future__ import annotations

import os
import random
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import greenlet
import numpy as np
import numpy.random  # numpy itself loads it when it is first used
from mpi4py import MPI

from emulator.comm.management import context_number
from emulator.sim.communicator import SimulatedComm
from emulator.sim.control import Control, Shared

_LIBRARIES = tuple(
    {os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_COMPILED = (".so", ".pyd")  # cannot be loaded twice
_PLACES: list[tuple[dict[str, Any], str]] = [
    *((vars(sys), name) for name in ("argv", "path", "stdout")),
    *((vars(MPI), name) for name in ("COMM_WORLD", "COMM_SELF")),
    (vars(np), "random"),
]
"""Names whose values are a rank's own, and the dictionaries that they are in."""


@contextmanager
def replaced(changes: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Temporarily replace attributes: for each the object, the attribute's name and the value."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


class Lines:
    """A rank's standard output: whole lines are written at once, so that ranks' lines are not mixed.

    Parameters
    ----------
    stream : where the lines go
    over : tells that the job has failed; what ranks print while they are ended is dropped
    """

    def __init__(self, stream: Any, over: Callable[[], bool]) -> None:
        self._stream, self._over, self._held = stream, over, ""

    def write(self, text: str) -> int:
        lines, end, self._held = (self._held + text).rpartition("\n")
        if end and not self._over():
            self._stream.write(lines + end)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        held, self._held = self._held, ""
        if not self._over():
            self._stream.write(held)
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class OwnGenerator(ModuleType):
    """A module of random numbers whose hidden generator belongs to this rank; made when first used.

    Parameters
    ----------
    real : `random` or `numpy.random`
    hidden : the generator whose methods `real` has as functions
    plain : methods of the generator by the names of other functions of `real` that use it
    make : makes the rank's own generator
    """

    def __init__(self, real: ModuleType, hidden: Any, plain: dict[str, str], make: Callable[[], Any]) -> None:
        super().__init__(real.__name__, real.__doc__)
        self.__spec__, self.__loader__ = real.__spec__, real.__loader__
        self.__package__, self.__file__ = real.__package__, real.__file__
        self._real, self._hidden, self._plain, self._make = real, hidden, plain, make
        self._own: Any = None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        method = name if getattr(value, "__self__", None) is self._hidden else self._plain.get(name)
        if method is not None:
            if self._own is None:
                self._own = self._make()
            value = getattr(self._own, method)
        setattr(self, name, value)
        return value


def _random(seed: int, rank: int) -> OwnGenerator:
    """The module `random` of a rank."""
    hidden = random._inst
    return OwnGenerator(random, hidden, {}, lambda: random.Random(f"{seed} {rank}"))


def _numpy_random(seed: int, rank: int) -> OwnGenerator:
    """The module `numpy.random` of a rank: unseeded draws depend on the simulation's seed and the rank."""
    made = np.random.SeedSequence((seed, rank))
    plain = {"seed": "seed", "ranf": "random_sample", "sample": "random_sample"}
    hidden = np.random.mtrand._rand
    module = OwnGenerator(np.random, hidden, plain, lambda: np.random.RandomState(made.generate_state(4)))
    real = np.random.default_rng

    def default_rng(seed: Any = None) -> np.random.Generator:
        return real(made.spawn(1)[0] if seed is None else seed)

    module.default_rng = default_rng  # type: ignore[attr-defined]
    return module


class World:
    """The state of one rank: modules, arguments, output, random generators.

    Attributes
    ----------
    comm : its communicator of all ranks; None: this is what there was before the simulation
    modules : its modules by name
    at_exit : what the program wants to be called at its end
    reads, read_at : how often it has read a clock at this simulated time
    """

    def __init__(self, comm: SimulatedComm | None, modules: dict[str, ModuleType], values: list[Any]) -> None:
        self.comm, self.modules, self.values = comm, modules, values
        self.at_exit: list[Callable[[], Any]] = []
        self.reads, self.read_at = 0, -1.0


class Isolation:
    """Installs each rank's own world whenever the rank runs; a context around the simulation.

    Attributes
    ----------
    current, before : the world of the rank that is running; what there was before the simulation
    over : the job has failed, and its ranks are ended
    """

    def __init__(self, argv: list[str], path: list[str], seed: int) -> None:
        self._argv, self._path, self._seed = argv, path, seed
        apart = {name: sys.modules[name] for name in ("__main__", "random", "numpy.random")}
        self.current = self.before = World(None, apart, [])
        self._common = set(sys.modules) - set(apart)
        self._worlds: dict[Any, World] = {}
        self._size = 0
        self.over = False

    def __enter__(self) -> Isolation:
        self._worlds[greenlet.getcurrent()] = self.before
        self._size = len(sys.modules)
        self._traced = greenlet.settrace(self._switched)
        return self

    def __exit__(self, *exception: object) -> None:
        greenlet.settrace(self._traced)
        self._put(self.before)

    def begin(self, comm: SimulatedComm) -> World:
        """Make the world of the calling rank, and install it."""
        rank, engine = comm.Get_rank(), comm.engine
        alone = Control(Shared([rank]), 0, engine)
        itself = SimulatedComm(engine, alone, context_number("self"), comm._algorithms)
        numbers = _numpy_random(self._seed, rank)
        modules: dict[str, ModuleType] = {
            "numpy.random": numbers,
            "random": _random(self._seed, rank),
        }
        lines = Lines(self.before.values[2] if self.before.values else sys.stdout, lambda: self.over)
        world = World(comm, modules, [list(self._argv), list(self._path), lines, comm, itself, numbers])
        self._worlds[greenlet.getcurrent()] = world
        self._put(world)
        return world

    def _switched(self, event: str, greenlets: tuple[Any, Any]) -> None:
        """Install the world of the greenlet that continues; a greenlet of the program's own has its rank's."""
        world = self._worlds.get(greenlets[1], self.current)
        if world is not self.current:
            self._put(world)

    def _put(self, world: World) -> None:
        leaving, modules = self.current, sys.modules
        if leaving is world:
            return
        leaving.values = [place[name] for place, name in _PLACES]
        self._collect(leaving)
        for name in leaving.modules:
            if name not in world.modules:
                modules.pop(name, None)
        modules.update(world.modules)
        self._size = len(modules)
        for (place, name), value in zip(_PLACES, world.values, strict=True):
            place[name] = value
        self.current = world

    def _collect(self, world: World) -> None:
        """Add the program's modules that were imported since this rank began to run to its world."""
        modules = sys.modules
        for name in [name for name in world.modules if name not in modules]:
            del world.modules[name]  # the program has taken it out
        for name in world.modules:
            world.modules[name] = modules[name]
        if len(modules) != self._size:
            for name in modules.keys() - self._common - world.modules.keys():
                package = name.partition(".")[0]  # common is what was there before the program, with all that it has
                if world.comm is not None and package not in self._common and _is_program(modules[name]):
                    world.modules[name] = modules[name]
                else:
                    self._common.add(name)


def _is_program(module: ModuleType) -> bool:
    """Whether a module belongs to the program: written in Python and not in a folder of installed packages."""
    paths = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    known = [os.path.realpath(path) for path in paths if path]
    return bool(known) and not any(path.endswith(_COMPILED) or path.startswith(_LIBRARIES) for path in known)
