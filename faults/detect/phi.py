"""The phi-accrual failure detector: how improbable a silence is, given the member's heartbeats so far.

    phi = -log10 P(a gap between beats is longer than the present silence)

The gaps of each member are taken as normal with the mean and deviation of its last ones. phi = 8 means that such a
silence would be a false alarm once in 10**8 gaps. A member that always was irregular is given more time than a regular
one. Hayashibara, Defago, Yared, Katayama: "The phi accrual failure detector", SRDS 2004.
"""

from __future__ import annotations

import math

import numpy as np

from faults.record.status_board import WORKING, StatusBoard

THRESHOLD = 8.0
_WINDOW = 100
_FEWEST = 5


def phi(silence_s: float, mean_s: float, deviation_s: float) -> float:
    """-log10 of the probability of a normal variable above `silence_s`; grows without bound."""
    z = (silence_s - mean_s) / (deviation_s * math.sqrt(2))
    tail = 0.5 * math.erfc(z)
    if tail > 1e-300:
        return -math.log10(tail)
    return z * z / math.log(10)  # erfc underflows: its leading term


class PhiAccrual:
    """Suspects members whose phi exceeds the threshold.

    Parameters
    ----------
    limit_s : used for as long as there are too few gaps to know a member's habits; and no deviation below a sixth of it
        is assumed, because the machine may be busier in the next gap: no member is suspected much earlier
    """

    def __init__(self, board: StatusBoard, limit_s: float, threshold: float = THRESHOLD) -> None:
        self.board, self.limit_s, self.threshold = board, limit_s, threshold
        self._last = np.zeros(len(board.rows))
        self._gaps: dict[int, list[float]] = {}
        self._pids: dict[int, int] = {}

    def __call__(self, now: float) -> list[int]:
        suspects = []
        beats = np.array(self.board.rows["beat"])
        for member in np.flatnonzero(self.board.rows["state"] == WORKING):
            beat = beats[member]
            pid = int(self.board.rows["pid"][member])
            if self._pids.setdefault(int(member), pid) != pid:  # another process: the old one's habits say nothing
                self._pids[int(member)], self._last[member] = pid, 0.0
                self._gaps.pop(int(member), None)
            if beat != self._last[member]:
                if self._last[member] > 0:
                    self._learn(int(member), beat - self._last[member])
                self._last[member] = beat
            if self._phi(int(member), now - beat) > self.threshold:
                suspects.append(int(member))
        return suspects

    def _learn(self, member: int, gap: float) -> None:
        gaps = self._gaps.setdefault(member, [])
        gaps.append(gap)
        if len(gaps) > _WINDOW:
            gaps.pop(0)

    def _phi(self, member: int, silence: float) -> float:
        gaps = self._gaps.get(member, [])
        if len(gaps) < _FEWEST:
            return self.threshold + 1 if silence > self.limit_s else 0.0
        return phi(silence, float(np.mean(gaps)), max(float(np.std(gaps)), self.limit_s / 6))
