"""Pacing: maps emulated time to wall time, the same for all ranks of a machine, and counts late receives."""

from __future__ import annotations

from array import array
from typing import Any

from emulator.core import clock
from emulator.core.wall_clock import perf_counter, sleep_until
from emulator.wire.shared_clocks import PACING_LOCK, SharedClocks

# A rank that is this late was descheduled or blocked (a sleep, a file), which is no jitter: time is shifted for all.
_AWAY_S = 0.02
_AWAY_ALPHAS = 3.0
_SHORTEST_NAP_S = 20e-6
_TINY = 1e-6
_SAMPLES = 1 << 14
GOOD_SHARE = 0.01


class Pacer(clock.Pacer):
    """Maps emulated time to wall time: emulated t is due at ``wall + (t - origin) * pace``.

    Attributes
    ----------
    pace : wall seconds per emulated second; 0.0 holds nothing back
    deadlines, overruns : receives that had to wait, and those of them that found their deadline already past
    """

    __slots__ = ("_late", "deadlines", "latency", "overruns", "pace", "shared", "spin")

    def __init__(self, shared: SharedClocks, pace: float, latency: float, spin: float) -> None:
        self.shared = shared
        self.pace = pace
        self.latency = latency or _TINY
        self.spin = spin
        self._late = array("d")
        self.deadlines = 0
        self.overruns = 0

    def nap(self, latency: float) -> float:
        """The longest nap (wall s) between two polls for a message with a latency of `latency` emulated seconds."""
        return max(_SHORTEST_NAP_S, latency * self.pace / 6)

    def restart(self, t: float, wall: float) -> None:
        """Let emulated time `t` be at wall time `wall` (perf_counter) for the whole machine; one rank calls it."""
        self.shared.pacing[0] = wall - t * self.pace

    def wall(self, t: float) -> float:
        """The wall time (perf_counter) of emulated time `t`."""
        return self.shared.pacing[0] + t * self.pace

    def emulated(self) -> float:
        """The emulated time that the wall clock has reached."""
        return (perf_counter() - self.shared.pacing[0]) / self.pace

    def hold(self, t: float) -> None:
        """Sleep until emulated time `t`."""
        sleep_until(self.shared.pacing[0] + t * self.pace, self.spin)

    def record(self, due: float, held: bool) -> None:
        """Note how late a receive due at `due` returns; `held`: its due time was still ahead when it was found."""
        late = perf_counter() - self.wall(due)
        self.deadlines += 1
        if not held:
            self.overruns += 1
            self._catch_up(due)
        if len(self._late) < _SAMPLES:
            self._late.append(late)
        else:
            self._late[self.deadlines % _SAMPLES] = late

    def _catch_up(self, due: float) -> None:
        """Shift emulated time for all ranks of the machine if this rank was descheduled, once for all that were."""
        away = max(_AWAY_S, _AWAY_ALPHAS * self.latency * self.pace)
        # Between machines time is tied to clocks that agree, and must stay so.
        if self.shared.machines > 1 or perf_counter() - self.wall(due) <= away:
            return
        with self.shared.lock(PACING_LOCK):
            late = perf_counter() - self.wall(due)
            if late > away:
                self.shared.pacing[0] += late

    def reset_counts(self) -> None:
        """Set the counts to zero and drop the samples."""
        self.deadlines = self.overruns = 0
        del self._late[:]

    def figures(self) -> tuple[int, int, list[float]]:
        """Number of deadlines and overruns, and the lateness samples in wall seconds."""
        return self.deadlines, self.overruns, self._late.tolist()


def summarise(figures: list[tuple[int, int, list[float]]], inversions: int, pace: float) -> dict[str, Any]:
    """Make the fidelity record of a result from the ranks' figures.

    Returns
    -------
    dict
        ``overrun_share``, ``late_p50`` and ``late_p99`` (wall seconds), ``inversions``, ``pace`` (None when nothing is
        held back), and ``words``: None, or what is wrong and what to do about it.
    """
    deadlines = sum(row[0] for row in figures)
    share = sum(row[1] for row in figures) / deadlines if deadlines else 0.0
    late = sorted(value for row in figures for value in row[2])
    words = []
    if share > GOOD_SHARE:
        words.append(
            f"{share:.1%} of the receives were late (1 % is good): this machine cannot keep up, choose a larger --pace"
        )
    if inversions:
        words.append(
            f"{inversions} message{' was' if inversions == 1 else 's were'} served by a shared card or link before one "
            f"that started earlier: "
            f"queueing there is approximate" + ("" if pace else ", --pace auto makes it exact")
        )
    return {
        "overrun_share": share,
        "late_p50": late[len(late) // 2] if late else 0.0,
        "late_p99": late[min(len(late) - 1, int(len(late) * 0.99))] if late else 0.0,
        "inversions": inversions,
        "pace": pace or None,
        "words": "; ".join(words) or None,
    }
