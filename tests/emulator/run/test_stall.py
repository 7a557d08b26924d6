"""What is said of a job whose ranks wait for each other."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

import emulator
from emulator.control import Control
from emulator.core import wall_clock
from emulator.core.instruments import NO_PEER
from emulator.report import terminal
from emulator.run import stall
from emulator.trace import traced_mpi
from emulator.wire import waiting
from emulator.wire.wait_board import COLLECTIVE, Waiter
from tests.ranks import on_ranks


def _shown(waiters: list[Waiter], ranks: int) -> list[str]:
    return ["".join(text for text, _ in line) for line in terminal.lines(stall.table(waiters, ranks), 80)]


def test_a_circle_is_named_in_the_table_and_in_the_line() -> None:
    waiters = [Waiter(0, 12.4, 2, 7), Waiter(1, 11.9, 0), Waiter(2, 12.0, 1, 3)]
    assert _shown(waiters, 3) == [
        "No message has come for long",
        "rank  waits for          for",
        "   0  rank 2 (tag 7)  12.0 s",
        "   1  rank 0          12.0 s",
        "   2  rank 1 (tag 3)  12.0 s",
        "",
        "a circle: 0 -> 2 -> 1 -> 0",
    ]
    assert stall.line(waiters) == (
        "no message for 12 s: rank 0 waits for rank 2 (tag 7), rank 2 waits for rank 1 (tag 3), rank 1 waits for rank "
        "0; a circle: 0 -> 2 -> 1 -> 0"
    )


def test_many_ranks_take_few_lines_and_those_that_do_not_wait_are_counted() -> None:
    waiters = [Waiter(rank, 20.0 + rank, NO_PEER, COLLECTIVE if rank % 2 else -1) for rank in range(2, 32)]
    shown = _shown(waiters, 32)
    assert len(shown) < 20
    assert "and 18 more" in shown
    assert "2 others: computing, polling or at an end" in shown
    assert "others in a collective" in shown[3]
    assert stall.line(waiters) == (
        "no message for 51 s: rank 31 waits for others in a collective, rank 30 waits for any rank, rank 29 waits for "
        "others in a collective, 27 more wait"
    )


class _Console:
    """A console in a pipe that keeps what it is given, and makes a file then, for which another rank waits."""

    is_terminal, width = False, 200

    def __init__(self, folder: Path) -> None:
        self.printed: list[str] = []
        self._folder = folder

    def print(self, text: object, **how: object) -> None:
        self.printed.append(str(text))
        (self._folder / "said").touch()


@on_ranks(2, over=["10gbe", "mpi"], call=["Recv", "Wait", "Barrier"])
def test_a_wait_that_lasts_is_told_and_ends(comm, over: str, call: str) -> None:
    """Rank 1 goes on only when rank 0, which waits for it, has said so."""
    control, patch = Control(comm.Dup()), pytest.MonkeyPatch()
    for module, name in ((stall, "PATIENCE_S"), (stall, "_LOOK_S"), (waiting, "NOTED_S")):
        patch.setattr(module, name, 0.05)
    folder = Path(control.bcast(tempfile.mkdtemp() if comm.rank == 0 else None))
    console = _Console(folder)
    used = emulator.emulate(comm, over) if over != "mpi" else traced_mpi.traced(comm.Dup())
    watch = stall.StallWatch(used, control, console if comm.rank == 0 else None)
    box = np.zeros(3)
    if comm.rank == 1:
        wall_clock.wait_until((folder / "said").exists)
    if call == "Barrier":
        used.Barrier()
    elif comm.rank == 1:
        used.Send(np.ones(3), 0, 7)
    elif call == "Recv":
        used.Recv(box, 1, 7)
    else:
        used.Irecv(box, 1, 7).Wait()
    control.Barrier()
    watch.stop()
    patch.undo()
    if comm.rank == 0:
        whom = "others in a collective" if (over, call) == ("mpi", "Barrier") else "rank 1"
        assert f" s: rank 0 waits for {whom}" in console.printed[0]
        assert watch._board.waiters() == []
