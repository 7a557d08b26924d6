"""Observers of a communicator: its phases, its messages, its faults. Several can listen at once."""

from __future__ import annotations


class Instrument:
    """An observer of what a communicator does; override what is of interest.

    Times are seconds on the clock of the communicator (`emulator.carrier.Carrier.now`). Phases and faults are
    reported on every carrier, messages only on carriers that see them (emulated and simulated ones). Messages are
    those of all communicators of the emulated cluster, their ranks those of the communicator that was emulated.
    """

    def phase(self, name: str, **info: object) -> None:
        """An algorithm enters a named phase; `step` in `info` is the number of its step, if it has any."""

    def sent(self, source: int, destination: int, tag: int, size: int, start: float, end: float) -> None:
        """This rank sent a message of `size` bytes, which occupies the sender's card from `start` to `end`."""

    def arrived(self, source: int, destination: int, tag: int, size: int, first: float) -> None:
        """A message was delivered to this rank; its first byte is at the receiver's card at `first`."""

    def completed(self, source: int, destination: int, tag: int, size: int, waited: float, due: float) -> None:
        """A receive of this rank is complete: it waited since `waited`, and the last byte was there at `due`."""

    def fault(self, kind: str, **info: object) -> None:
        """A fault happened to this rank, or became known to it."""
