"""Tests whose ranks are simulated in pytest's own process (`emulator.sim.run`): no mpirun, exact times.

What a program computes and its emulated times are the same there, to the bit, as on the emulated network without pacing
(`tests/emulator/sim/test_agreement.py`). The wire, MPI itself and its limits are tested by the sample of each test that
`on_mpi` names, which runs on real ranks.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from emulator.network import Network
from tests.ranks import LIMIT, cases_of, inside, on_ranks

NET = "10gbe"


def on_simulated_ranks(
    n: int, *, net: str | Network = NET, on_mpi: dict[str, Any] | None = None, **parameters: list[Any]
) -> Callable[[Callable[..., None]], Any]:
    """Run the decorated ``test(comm, **parameters)`` on `n` simulated ranks, once for each combination.

    Parameters
    ----------
    net
        The network, its name or its file.
    on_mpi
        Run a sample also on real ranks over MPI itself, as the test ``..._on_mpi``: the values of some parameters that
        replace those of `parameters`, and ``ranks`` in place of `n`.
    parameters
        Lists, as for `tests.ranks.on_ranks`.
    """

    def decorate(function: Callable[..., None]) -> Any:
        if on_mpi is not None:
            _add_sample(
                function, on_mpi.get("ranks", n), {name: on_mpi.get(name, parameters[name]) for name in parameters}
            )
        if inside():
            return function
        import pytest

        from emulator import sim

        cases = cases_of(function.__name__, parameters)

        @pytest.mark.parametrize("case", list(cases), ids=[label.partition("[")[2].rstrip("]") for label in cases])
        def test(case: str) -> None:
            with limited():
                sim.run(functools.partial(function, **cases[case]), n, net)

        test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
        return test

    return decorate


def _add_sample(function: Callable[..., None], n: int, parameters: dict[str, list[Any]]) -> None:
    """Put the test of the real ranks into the module of the test."""

    @functools.wraps(function)
    def sample(comm: Any, **values: Any) -> None:
        function(comm, **values)

    sample.__name__ += "_on_mpi"
    setattr(sys.modules[function.__module__], sample.__name__, on_ranks(n, **parameters)(sample))


@contextlib.contextmanager
def limited(seconds: float = LIMIT) -> Iterator[None]:
    """Raise TimeoutError in what does not end in this process, which shows where it stands."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"it has not ended within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(round(seconds))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
