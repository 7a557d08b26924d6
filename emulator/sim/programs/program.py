"""Run a program, a script or a module, once on each simulated rank, as mpirun would start it."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any

from mpi4py import MPI

from emulator.network import Network
from emulator.sim.communicator import SimulatedComm
from emulator.sim.control import Aborted
from emulator.sim.programs.blocking import simulated_now, watched
from emulator.sim.programs.isolation import Isolation, replaced
from emulator.sim.run import Outcome, run


class RankFailed(Exception):
    """A rank has raised an exception or ended with a non-zero status, which ends the job.

    Attributes
    ----------
    rank, cause : the rank, and what it raised
    """

    def __init__(self, rank: int, cause: BaseException) -> None:
        super().__init__(f"rank {rank} failed")
        self.rank, self.cause = rank, cause


class _Main:
    """The program that runs as ``__main__``; its code is compiled once.

    Parameters
    ----------
    module : a module's name, as after ``python -m``; None: a script
    script : its path, if it is one
    """

    def __init__(self, module: str | None, script: str) -> None:
        self._module, self._script = module, script
        self._code: CodeType | None = None

    def _found(self) -> ModuleType:
        """Make the module of a rank and find the code."""
        main = ModuleType("__main__")
        if self._module is None:
            main.__file__ = self._script
            if self._code is None:
                with open(self._script, "rb") as source:
                    self._code = compile(source.read(), self._script, "exec", dont_inherit=True)
            return main
        spec: Any = find_spec(self._module)
        if spec.submodule_search_locations is not None:
            import_module(self._module)
            spec = find_spec(f"{self._module}.__main__")
        main.__spec__, main.__file__, main.__loader__, main.__package__ = spec, spec.origin, spec.loader, spec.parent
        sys.argv[0] = spec.origin
        if self._code is None:
            self._code = spec.loader.get_code(spec.name)
        return main

    def run(self) -> None:
        main = sys.modules["__main__"] = self._found()
        exec(self._code, vars(main))  # type: ignore[arg-type]


def run_program(
    module: str | None,
    arguments: Sequence[str],
    ranks: int,
    network: Network,
    *,
    seed: int = 0,
    order: int | None = None,
    compute: str = "measured",
    begin: Callable[[SimulatedComm], None] = lambda comm: None,
    end: Callable[[SimulatedComm], Any] = lambda comm: None,
) -> Outcome:
    """Run an unchanged mpi4py program on simulated ranks, each with modules, arguments and random numbers of its own.

    Parameters
    ----------
    module, arguments : a module's name, or None; and the program's arguments, of which a script is the first
    ranks, network, seed, compute : as of `emulator.sim.run`; the seed is also that of random numbers without one
    order : the seed of jitter and loss; None: `seed`
    begin, end : called on each rank before and after the program; what `end` gives is the rank's result

    Raises
    ------
    RankFailed
        A rank has failed.
    UsageError, DeadlockError
        As of `emulator.sim.run`.
    """
    main = _Main(module, "" if module else arguments[0])
    first = os.getcwd() if module else os.path.dirname(os.path.realpath(arguments[0]))
    argv = [module, *arguments] if module else list(arguments)
    isolation = Isolation(argv, [first, *sys.path[1:]], seed)

    def on_rank(comm: SimulatedComm) -> Any:
        world = isolation.begin(comm)
        begin(comm)
        comm.engine.clock.pause()  # what a rank imports takes no simulated time
        try:
            try:
                main.run()
            finally:
                while world.at_exit:
                    world.at_exit.pop()()
        except SystemExit as error:
            if error.code not in (None, 0) or isinstance(error, Aborted):
                _fail(isolation, comm, error)
        except BrokenPipeError:  # the reader of our output has closed it
            raise
        except Exception as error:
            _fail(isolation, comm, error)
        sys.stdout.flush()
        return end(comm)

    with isolation, watched(isolation), replaced([*_for_ranks(isolation)]):
        return run(on_rank, ranks, network, seed=seed if order is None else order, compute=compute)


def _fail(isolation: Isolation, comm: SimulatedComm, error: BaseException) -> None:
    sys.stdout.flush()
    isolation.over = True
    raise RankFailed(comm.Get_rank(), error) from None


def _for_ranks(isolation: Isolation) -> Iterator[tuple[Any, str, Any]]:
    """Replacements of what a process has once (MPI's start, end and clock, `atexit`) by that of the running rank."""
    wtime, register = MPI.Wtime, atexit.register

    def registered(function: Callable[..., Any], *arguments: Any, **named: Any) -> Callable[..., Any]:
        world = isolation.current
        if world.comm is None:
            return register(function, *arguments, **named)
        world.at_exit.append(partial(function, *arguments, **named))
        return function

    yield MPI, "Wtime", lambda: wtime() if isolation.current.comm is None else simulated_now(isolation.current)
    yield MPI, "Init", lambda: None
    yield MPI, "Finalize", lambda: None
    yield MPI, "Init_thread", lambda required=MPI.THREAD_MULTIPLE: MPI.Query_thread()
    yield atexit, "register", registered
