"""What a drill gives to a recovering program: journal, status board, injector, and the platform it runs on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emulator.trace.recorder import Recorder
from faults.inject.injector import Injector
from faults.platform import LOCAL, Platform
from faults.record.journal import Journal, NoJournal
from faults.record.status_board import StatusBoard


@dataclass
class DrillContext:
    """Journal, status board and injector of one rank; each may be absent, at the cost of a comparison."""

    journal: Journal | NoJournal = field(default_factory=NoJournal)
    board: StatusBoard | None = None
    injector: Injector | None = None
    member: int = 0
    platform: Platform = LOCAL
    traces: Path | None = None  # the job's folder, where events are recorded
    recorder: Recorder | None = None
    network_faults: Any = None  # of an emulated network (`faults.inject.network_changes.NetworkFaults`)
    _followed: int = -1

    @property
    def in_drill(self) -> bool:
        """Whether this context is of a drill, which records what happens and injects faults."""
        return not isinstance(self.journal, NoJournal) or (self.injector, self.network_faults) != (None, None)

    @property
    def silent(self) -> bool:
        """Whether nobody reads what happens in a step: neither a drill nor a status board."""
        return not self.in_drill and self.board is None

    def left(self) -> None:
        """Note on the board of a user's program that this rank has left its loop."""
        if self.board is not None and not self.in_drill:
            self.board.leave(self.member)

    @property
    def notice(self) -> signal.Signals | None:
        """The signal by which the plan tells ranks to leave; None if it has none."""
        return None if self.injector is None else self.injector.notice

    def holds(self, state: dict[str, np.ndarray]) -> None:
        """Give the injector the arrays whose bits a fault can flip."""
        if self.injector is not None:
            self.injector.state = state

    def ready(self) -> None:
        """Start the faults planned by wall time, counted from the beginning of the job's first launch."""
        if self.board is None or self.injector is None:
            return
        if self.board.origin[0] == 0:
            self.board.origin[0] = self.platform.clock.now()
        self.injector.begin(float(self.board.origin[0]))

    def working_on(self, step: int) -> None:
        """Note on the board that this rank begins a step, and fire the faults planned for that step."""
        if self.board is not None:
            self.board.steps[self.member] = step
            self.board.beat(self.member)
        if self.network_faults is not None:
            self.network_faults.tick()
        if self.injector is not None:
            self.injector.at_step(step)
            if self.network_faults is not None:
                self.injector.at_emulated(self.network_faults.now())

    @contextmanager
    def computing(self, declared_s: float = 0.0) -> Iterator[None]:
        """Measure the CPU time of the block's work; on a slowed rank, sleep as much longer as its factor says.

        Parameters
        ----------
        declared_s : seconds of work that is declared instead of done, which pass here
        """
        clock = self.platform.clock
        began = clock.cpu()
        yield
        clock.work(declared_s)
        if self.injector is not None:
            self.injector.stretch(clock.cpu() - began + declared_s)

    def falsified(self, values: np.ndarray) -> np.ndarray:
        """The array that this rank sends for `values`: the same, or a false copy while a `lie` fault lasts."""
        return values if self.injector is None else self.injector.falsified(values)

    def follow(self) -> None:
        """Count the steps of the working ranks on a spare, which does none, so that a fault can hit it by step."""
        if self.board is not None and self.injector is not None:
            furthest = self.board.furthest()
            for step in range(self._followed + 1, furthest + 1):
                self.working_on(step)
            self._followed = max(self._followed, furthest)

    def noticed(self) -> None:
        """Tell the injector that this process has learned of a failure."""
        if self.injector is not None:
            self.injector.at_recovery()

    def placed(self, place: int) -> None:
        """Note on the board that this process works in place `place` from now on."""
        if self.board is not None:
            self.board.rows["place"][self.member] = place
        if self.injector is not None and self.board is not None and place >= 0 and place != self.injector.place:
            self.injector.place = place
            if self.board.origin[0]:
                self.injector.begin(float(self.board.origin[0]))  # the faults by time for that place

    def enters(self, phase: int) -> None:
        """Note on the board that this rank begins a phase (`faults.record.status_board`), or progresses in it."""
        if self.board is not None:
            self.board.enter_phase(self.member, phase)

    def waits_for(self, process: int) -> None:
        """Note on the board which process this one waits for."""
        if self.board is not None:
            self.board.peers[self.member] = process
