"""Several threads of a rank that call its communicators: one at a time, and others while it waits.

An engine is a plain data structure without a lock, which every message would pay for. So the lock comes with the first
thread that a program starts: the methods are then wrapped, at about 0.3 us per call. A rank stays one processor: its
clock advances by the CPU time of all threads that make calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from emulator.comm import completion
from emulator.comm.communicator import EmulatedComm
from emulator.comm.compiled_classes import replace_methods
from emulator.comm.management import Management
from emulator.comm.probes import EmulatedMessage
from emulator.comm.refused import NoHandle, Refused
from emulator.comm.requests import EmulatedRequest
from emulator.core.engine import Engine
from emulator.wire.waiting import Waiting

_OWN = ("emulator", "faults", "primitives")  # their threads call no communicator
_lock: Any = threading.RLock()
_first: int | None = None  # the thread that started another one
_watching = False


def watch() -> None:
    """Lock the calls of communicators once the program starts a thread, or now if it has."""
    global _watching
    if _watching:
        return
    _watching = True
    if any(not _ours(thread) for thread in threading.enumerate() if thread is not threading.current_thread()):
        install()
    start = threading.Thread.start

    def watched(thread: threading.Thread) -> None:
        if not _ours(thread):
            install()
        start(thread)

    threading.Thread.start = watched  # type: ignore[method-assign, assignment]


def _ours(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", None) is not None and target.__module__.partition(".")[0] in _OWN


def install() -> None:
    """Allow one thread at a time in a call; idempotent."""
    global _first
    if _first is not None:
        return
    _first = threading.get_ident()
    # On the communicator's own class: other communicators inherit its parts, too, and have no engine.
    pairs = [(EmulatedComm, cls) for cls in EmulatedComm.__mro__]
    for target, cls in (*pairs, *((one, one) for one in (*_descendants(EmulatedRequest), EmulatedMessage))):
        interface = next((one for one in _INTERFACES if issubclass(cls, one)), MPI.Intracomm)
        # What the control plane does waits inside of MPI, and would keep the lock.
        if cls.__module__.startswith("emulator.comm.") and cls not in (Management, Refused, NoHandle):
            for name, method in list(vars(cls).items()):
                used = not name.startswith("_") and callable(method) and getattr(target, name) is method
                if used and hasattr(interface, name):
                    setattr(target, name, _one_at_a_time(method))
    for kind, names in ((MPI.Request, completion.METHODS), (MPI.Prequest, ("Startall",))):
        methods = {name: classmethod(_of_requests(vars(kind)[name].__func__)) for name in names}
        replace_methods(kind, methods)
    Waiting.threaded = True
    Waiting.doze = _unlocked(Waiting.doze)  # type: ignore[method-assign]


_INTERFACES = (MPI.Prequest, MPI.Request, MPI.Message)


def _descendants(cls: type) -> list[type]:
    children: list[type] = cls.__subclasses__()
    return [cls, *(found for child in children for found in _descendants(child))]


def _one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        with _lock:
            _switch(self.engine)
            return method(self, *arguments, **named)

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


def _of_requests(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(cls: type, requests: Any, *rest: Any, **named: Any) -> Any:
        engine = next((request.engine for request in requests if isinstance(request, EmulatedRequest)), None)
        if engine is None:
            return function(cls, requests, *rest, **named)
        with _lock:
            _switch(engine)
            return function(cls, requests, *rest, **named)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    return call


def _unlocked(pause: Callable[..., None]) -> Callable[..., None]:
    def call(self: Any, *arguments: Any) -> None:
        if not _lock._is_owned():
            pause(self, *arguments)
            return
        held = _lock._release_save()
        try:
            pause(self, *arguments)
        finally:
            _lock._acquire_restore(held)
            _switch(self)

    return call


def _switch(engine: Engine) -> None:
    """Make the clock count this thread's CPU time instead of the last thread's."""
    me = threading.get_ident()
    marks = engine.__dict__.setdefault("thread_marks", {None: _first})
    last = marks[None]
    if last != me:
        marks[last], engine.clock.mark, marks[None] = engine.clock.mark, marks.get(me, 0.0), me
