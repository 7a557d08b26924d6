"""SWIM among the ranks of a host, without MPI: a thread of every rank pings and answers over datagrams.

    threads of all ranks      ping, ack, ping-req (`primitives.membership.swim`) over sockets of the kernel
         └─ declared dead ──► suspected on the status board ──► killed by the launcher ──► the runtime tells all ranks

A rank that waits in MPI for a hung one still answers, since its thread does; a stopped process has none that could.
A suspected process is killed before another takes its place, so that it cannot wake up and go on. If it begins a step,
or the kernel says that it runs, the suspicion is refuted: SWIM declares death for good, so all threads then begin
anew, and messages of an earlier beginning are dropped.

Limits: the processes that the job began with, on one host; a spawned process (respawn) is no member.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import zlib

import numpy as np

from faults.record.status_board import ABSENT, WORKING, StatusBoard
from primitives.membership.detector import decode, encode
from primitives.membership.messages import Message, State
from primitives.membership.swim import Settings, Swim

_SUSPICION_PERIODS = 4.0
_LOOK_S = 0.01


def settings(limit_s: float) -> Settings:
    """Protocol periods by which a silent member is declared dead after about `limit_s` seconds.

    A ping fails within the first 1.6 periods or so; then come the period of that ping, and the suspicion.
    """
    return Settings(limit_s / (_SUSPICION_PERIODS + 2.6), suspicion_periods=_SUSPICION_PERIODS)


def start(board: StatusBoard, member: int, members: int, attempt: int, limit_s: float) -> None:
    """Start this member's thread, which takes part from when all members have started to the process's end."""
    swim = Member(board, member, members, attempt, limit_s)
    threading.Thread(target=swim.take_part, name="swim", daemon=True).start()


class Member:
    """One member of the SWIM group."""

    def __init__(self, board: StatusBoard, member: int, members: int, attempt: int, limit_s: float) -> None:
        self.board, self.member, self.members = board, member, members
        self.settings, self._clock = settings(limit_s), board.platform.clock
        # Names of the kernel, not of the file system: a folder's path may be too long for a socket's.
        self._name = f"\0swim-{zlib.crc32(str(board.path.resolve()).encode())}-{attempt}-"
        self._box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._box.bind(f"{self._name}{member}")
        self._generation = -1
        self._swim: Swim

    def take_part(self) -> None:
        """Run until this process ends."""
        self.board.enter_heartbeat_thread(self.member)
        while (self.board.rows["state"][: self.members] == ABSENT).any():
            self._clock.sleep(_LOOK_S)
        while True:
            self.turn()

    def turn(self) -> None:
        """Do what is due and receive at most one message, waiting a few milliseconds for it."""
        self._restart()
        answers = self._swim.tick(self._clock.now())
        if message := self._next():
            answers += self._swim.receive(message, self._clock.now())
        for answer in answers:
            self._send(answer)
        for event in self._swim.events:
            if event.state is State.DEAD:
                self.board.rows["suspected"][event.member] = self._clock.now()
        self._swim.events.clear()

    def close(self) -> None:
        """Close the socket: this member answers no more pings."""
        self._box.close()

    def _restart(self) -> None:
        """Start the protocol, at the beginning and again after every refuted suspicion."""
        generation = int(self.board.refuted[0])
        if generation != self._generation:
            self._generation = generation
            first = self._clock.now() + self.settings.period_s * self.member / self.members
            self._swim = Swim(self.member, range(self.members), self.settings, seed=generation, now=first)

    def _next(self) -> Message | None:
        """Receive a message; None if something is due first, or if the message is from before the last restart."""
        due = self.settings.period_s if self._swim.evicted else self._swim.due - self._clock.now()
        self._box.settimeout(min(max(due, 1e-3), _LOOK_S))
        try:
            wire = np.frombuffer(self._box.recv(1 << 12), np.int64)
        except TimeoutError:
            return None
        return decode(wire[1:]) if wire[0] == self._generation else None

    def _send(self, message: Message) -> None:
        wire = np.concatenate([[self._generation], encode(message, self.settings.piggyback)])
        with contextlib.suppress(OSError):  # it is gone, or stopped and its box is full
            self._box.sendto(wire.tobytes(), socket.MSG_DONTWAIT, f"{self._name}{message.destination}")


class GroupSuspicions:
    """The launcher's part: read from the status board which members others suspect."""

    def __init__(self, board: StatusBoard) -> None:
        self.board = board

    def __call__(self, now: float) -> list[int]:
        rows = self.board.rows
        suspected, working = rows["suspected"], rows["state"] == WORKING
        alive = working & (suspected > 0) & (rows["beat"] > suspected)
        if alive.any():
            suspected[alive] = 0.0
            self.board.refuted[0] += 1
        return [int(member) for member in np.flatnonzero(working & (suspected > 0))]
