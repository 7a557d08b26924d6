"""Run a program repeatedly on simulated ranks, each time with its messages in another order.

MPI keeps the order of the messages between two ranks and nothing else: which of several senders a receive from any
source meets, which request of a set ends first and what a probe finds may differ from run to run. A program that is
right in one run may be wrong in the next one. Here every message is late by a time of its own, drawn by a seed from a
heavy tail (half of them by less than 3 ms, one in a hundred by more than 10 s of simulated time), so that messages that
are under way together come in any order, and one message may be later than a long exchange between other ranks.
The order depends on the seed alone, so that a failure that was found happens again with its seed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

from emulator.errors import CheckFailed, UsageError
from emulator.network import Network
from emulator.network.jitter import Pareto
from emulator.sim.deadlock import DeadlockError
from emulator.sim.programs.program import RankFailed, run_program

LATE = Pareto(1e-3, 0.5)


@dataclass(frozen=True)
class Ending:
    """How a program ended.

    Attributes
    ----------
    failed : it raised an exception, ended with another status than 0, or deadlocked
    kind : the same for all endings that count as one: where it failed and with what, or what it printed, whatever the
        order of the lines
    text : what to show of it
    """

    failed: bool
    kind: tuple[str, ...]
    text: str


def shuffled(network: Network) -> Network:
    """The same network with a random extra delay for every message."""
    return Network(replace(network.spec, jitter=LATE), network.ranks)


def endings(
    module: str | None, arguments: Sequence[str], ranks: int, network: Network, orders: Sequence[int],
    line_of: Callable[[BaseException], str], *, seed: int = 0,
) -> Iterator[tuple[int, Ending]]:  # fmt: skip
    """Run a program in several message orders, and yield how each run ended.

    Parameters
    ----------
    module, arguments, ranks, network : as of `emulator.sim.programs.program.run_program`
    orders : a seed for each run
    line_of : names the line of the program in which an error came up, empty if there is none
    seed : of the program's random numbers, the same in all runs

    Raises
    ------
    UsageError
        The program does something that is not simulated, in whatever order.
    """
    network = shuffled(network)
    for order in orders:
        said = StringIO()
        with redirect_stdout(said), redirect_stderr(StringIO()):
            found = _ending(module, arguments, ranks, network, line_of, seed, order)
        yield order, found or _printed(said.getvalue())


def _ending(
    module: str | None, arguments: Sequence[str], ranks: int, network: Network,
    line_of: Callable[[BaseException], str], seed: int, order: int,
) -> Ending | None:  # fmt: skip
    """How a run has failed; None if it has not."""
    try:
        run_program(module, arguments, ranks, network, seed=seed, order=order, compute="none")
    except DeadlockError as error:
        return Ending(True, ("deadlock",), str(error))
    except RankFailed as failure:
        cause = failure.cause
        if isinstance(cause, UsageError | CheckFailed):
            raise
        if isinstance(cause, SystemExit):
            return Ending(True, ("status", str(cause.code)), f"rank {failure.rank} exits with {cause.code!r}")
        where = line_of(cause)
        what = traceback.format_exception_only(cause)[-1].strip()
        return Ending(True, (type(cause).__name__, where), f"rank {failure.rank}: {what}{where and f' ({where})'}")
    return None


def _printed(output: str) -> Ending:
    lines = output.splitlines()
    first: Any = lines[0] if lines else "nothing"
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    return Ending(False, tuple(sorted(lines)), f"ends, prints {first}{more}")
