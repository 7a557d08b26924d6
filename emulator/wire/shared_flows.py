"""The messages under way on a machine, which its ranks share in one memory mapping.

Whoever sends or looks takes the lock, reads what has changed, and leaves what it has changed. There are two halves,
written in turn: a rank that is killed while it writes leaves the last whole state behind.
"""

from __future__ import annotations

import functools
import marshal
import mmap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emulator.core.flows import Flows
from emulator.errors import UsageError

if TYPE_CHECKING:
    from emulator.network import Network

_HALF = 1 << 23
_HEADER = 64
LENGTH = _HEADER + 2 * _HALF
_VERSION, _LENGTHS = 0, 1  # cells of the header: how often the state was written, and the bytes of either half


class SharedFlows(Flows):
    """The flows of `emulator.core.flows.Flows`, shared by the ranks of a machine.

    Parameters
    ----------
    file : an open file of `LENGTH` bytes that all ranks of the machine share
    lock : a context manager under which one rank at a time uses it
    """

    def __init__(self, network: Network, file: int, lock: Any) -> None:
        self._map = mmap.mmap(file, LENGTH)
        self._cells = memoryview(self._map)[:_HEADER].cast("q")
        self._lock, self._inside = lock, True
        self._known, self._version = b"", 0
        super().__init__(network)
        self._inside = False

    def _read(self) -> None:
        version = self._cells[_VERSION]
        if version != self._version:
            begin = _HEADER + version % 2 * _HALF
            self._known = self._map[begin : begin + self._cells[_LENGTHS + version % 2]]
            self._version = version
            self.load(marshal.loads(self._known))

    def _write(self) -> None:
        state = marshal.dumps(self.dump())
        if state == self._known:
            return
        if len(state) > _HALF:
            raise UsageError(
                f'{len(self.open)} messages are under way: more than can share a network (sharing = "packet"): '
                "receive some of them before more are sent"
            )
        version = self._version + 1
        begin = _HEADER + version % 2 * _HALF
        self._map[begin : begin + len(state)] = state
        self._cells[_LENGTHS + version % 2] = len(state)
        self._cells[_VERSION] = version
        self._known, self._version = state, version


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method that one rank at a time calls, on the state left by the last call."""

    @functools.wraps(method)
    def call(self: SharedFlows, *arguments: Any) -> Any:
        if self._inside:
            return method(self, *arguments)
        with self._lock:
            self._inside = True
            try:
                self._read()
                result = method(self, *arguments)
                self._write()
            finally:
                self._inside = False
        return result

    return call


for _name in ("add", "due", "expected", "idle", "weaken", "clear"):
    setattr(SharedFlows, _name, _alone(getattr(Flows, _name)))
