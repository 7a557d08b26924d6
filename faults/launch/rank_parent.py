"""The process between mpirun and a rank: it records the rank's end, and turns every end into a death that MPI notices.

    mpirun ── rank_parent ── rank          stopped for longer than the limit  ─► killed
       │          │           │            exit status above 0, or a signal   ─► the parent dies by a signal as well
       └ dies ────┴ is killed ┴ is killed

Open MPI (5.0.11) tells the survivors of a rank that was killed by a signal, and not of one that ended with an exit
status above 0, by ``os._exit(7)`` say: they would wait for it for ever. mpirun sees the parent as the rank, so the
parent ends by a signal then. It also sees a stop (SIGSTOP), which MPI never reports, without the rank's help.

It is started as a file, without the site's packages, so that it costs the start of a rank a few milliseconds:
``python -I -S rank_parent.py FOLDER LIMIT_S SIGNAL|STATUS COMMAND...``
"""

import contextlib
import json
import os
import signal
import sys
import time

_SET_DEATH_SIGNAL = 1  # of prctl
_LOOK_S = 0.02
_RANK = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")
_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process with its parent, where it can (Linux)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:  # it has died before the kernel was told
        os._exit(1)


def run(folder: str, limit_s: float, as_signal: bool, command: "list[str]") -> int:
    """Start the rank, wait for its end and record it; returns this process's exit status."""
    die_with_parent(os.getppid())
    mine = os.getpid()
    rank = os.fork()
    if not rank:
        die_with_parent(mine)
        os.execvp(command[0], command)
    for name in _FORWARDED:  # mpirun sends them to the whole process group, or to this process alone
        signal.signal(getattr(signal, name), lambda number, _: _send(rank, number))
    status, stopped_at = _await(rank, limit_s)
    code = os.waitstatus_to_exitcode(status)
    name = f"{os.uname().nodename}-{rank}"
    _record(folder, name, code, stopped_at)
    if code < 0 or (as_signal and _is_missed(folder, name, code)):
        number = -code if code < 0 else signal.SIGKILL
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(mine, number)
        os.kill(mine, signal.SIGKILL)  # if that signal is ignored
    return code


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _await(rank: int, limit_s: float) -> "tuple[int, float]":
    """The rank's wait status, and since when (s) it was stopped if it was killed for that (0: never)."""
    fenced_for = 0.0
    while True:
        _, status = os.waitpid(rank, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return status, fenced_for
        stopped_at = time.monotonic()
        # Looks are counted, not time: this process may have been stopped as well, with its whole job (Ctrl-Z).
        looks, ended = int(limit_s / _LOOK_S) + 1 if limit_s else 0, 0
        for _ in range(looks):
            time.sleep(_LOOK_S)
            ended, status = os.waitpid(rank, os.WNOHANG | os.WCONTINUED)
            if ended:
                break
        if ended and not os.WIFCONTINUED(status):
            return status, fenced_for
        if looks and not ended:
            fenced_for = stopped_at
            _send(rank, signal.SIGKILL)


def _is_missed(folder: str, name: str, code: int) -> bool:
    """Whether other ranks wait for one with this exit status: it has not reached the program's end."""
    try:
        with open(os.path.join(folder, name)) as file:
            said = file.read().split()[0]
    except OSError:
        return code > 0
    return said not in ("reached", "left") if code == 0 else said != "left"


def _record(folder: str, name: str, code: int, stopped_at: float) -> None:
    """Write how the rank ended to a file of its own, atomically."""
    world = next((os.environ[key] for key in _RANK if key in os.environ), "-1")
    if os.environ.get("PMIX_NAMESPACE", "@1").rpartition("@")[2] != "1":
        world = "-1"  # a spawned process, which has the numbers of a world of its own
    text = json.dumps({"rank": int(world), "code": code, "stopped_at": stopped_at, "at": time.monotonic()})
    with contextlib.suppress(OSError):  # a folder that is gone: the launcher does not read it any more
        os.makedirs(os.path.join(folder, "ends"), exist_ok=True)
        waiting = os.path.join(folder, "ends", f".{name}")
        with open(waiting, "w") as file:
            file.write(text)
        os.replace(waiting, os.path.join(folder, "ends", name))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], float(sys.argv[2]), sys.argv[3] == "SIGNAL", sys.argv[4:]))
