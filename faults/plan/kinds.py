"""The kinds of faults: the syntax and the properties of each.

Code that depends on a kind reads its attributes; names are never compared. A new kind is an entry in
`KINDS` and its handler in `faults.inject`, which the rank that it hits registers (`Injector.handle`). No MPI in here.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from emulator.errors import Registry


@dataclass(frozen=True)
class Factor:
    """Legal values of ``by FACTOR``: the default, the rule for a number, and legal words."""

    default: float
    rule: str
    obeys: Callable[[float], bool]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of fault, with its syntax and properties.

    Attributes
    ----------
    about : what happens, in words
    signal : the signal that the rank gets, by its kernel's timer; None where a handler does it
    ends : it takes the rank away: for good, or if it has a duration until that is over
    final : it takes the rank away for good, and nothing can wake it
    told : the rank is told beforehand, and leaves by itself at the end of a step; its duration is the time that it has
    lingers : the rank goes on after the instant of the fault: to the end of a step, or until the fault is detected, if
        it is
    spoils_state : it changes the state that `faults.recovering` keeps the same on all ranks
    spoils_messages : it changes messages of MPI
    in_message : the kind of the same fault ``in message``; empty where there is none
    silent : the MPI runtime does not notice it: a detector with a limit of silence must
    whole_host : aimed at a host it hits all of the host's ranks at one instant
    lasts, needs_duration : it may, or must, have ``for DURATION``
    persists : it stays in force, without a duration to the end of the run, so that a second one on the same target
        would replace the first
    factor, nic_factor : what ``by`` may be; None where there is none. `nic_factor` where it may be aimed at a rank's
        NIC.
    two_sides : its target is two groups of ranks
    needs_network, needs_checkpoints : it acts on an emulated network, or on checkpoints on disk
    falsifies : the rank sends other values than it computed: only some patterns detect it
    """

    name: str
    about: str
    signal: signal.Signals | None = None
    ends: bool = False
    final: bool = False
    told: bool = False
    lingers: bool = False
    spoils_state: bool = False
    spoils_messages: bool = False
    in_message: str = ""
    silent: bool = False
    whole_host: bool = False
    lasts: bool = False
    needs_duration: bool = False
    persists: bool = False
    factor: Factor | None = None
    nic_factor: Factor | None = None
    two_sides: bool = False
    needs_network: bool = False
    needs_checkpoints: bool = False
    falsifies: bool = False


_SLOWER = Factor(4.0, ">= 1", lambda value: value >= 1)
_TIMES = Factor(1.0, "a whole number >= 1", lambda value: value >= 1 and value % 1 == 0)
_SHARE = Factor(0.05, "between 0 and 1", lambda value: 0 < value < 1)
_SLOWER_CARD = Factor(10.0, ">= 1 by which a card is slower", lambda value: value >= 1)
_MULTIPLE = Factor(-1.0, "that is finite", lambda value: True, words=("random", "nan"))

KINDS = Registry(
    "a kind of fault",
    Kind("kill", "the process is gone", signal.SIGKILL, ends=True, final=True, whole_host=True),
    Kind("hang", "the process is stopped", signal.SIGSTOP, ends=True, silent=True, lasts=True, persists=True),
    Kind("slow", "the rank computes slower", lasts=True, persists=True, factor=_SLOWER),
    Kind(
        "cut", "no message passes between two groups of ranks", lasts=True, persists=True, needs_duration=True,
        factor=_TIMES, two_sides=True, needs_network=True,
    ),
    Kind("cut-off", "the rank stops, on the side of a cut that has no quorum", ends=True, lingers=True),
    Kind(
        "lose", "messages are lost", lasts=True, persists=True, factor=_SHARE, nic_factor=_SLOWER_CARD,
        needs_network=True,
    ),
    Kind(
        "lie", "the rank sends other values than it computed", lasts=True, persists=True, factor=_MULTIPLE,
        falsifies=True,
    ),
    Kind(
        "preempt", "the process is told to leave, and is gone after its time of grace", signal.SIGTERM, ends=True,
        final=True, told=True, lingers=True, lasts=True,
    ),
    Kind(
        "flip", "a bit of the rank's state flips in memory", ends=True, lingers=True, spoils_state=True,
        in_message="flip-message",
    ),
    Kind("flip-message", "a bit of the next message to the rank flips on its way", spoils_messages=True),
    Kind("corrupt", "the newest checkpoint on disk is damaged", needs_checkpoints=True),
    Kind("full", "the disk of the checkpoints is full", lasts=True, needs_checkpoints=True),
    Kind(
        "stall", "the disk of the checkpoints does not answer", lasts=True, needs_duration=True,
        needs_checkpoints=True,
    ),
)  # fmt: skip
