"""Launch jobs on two hosts that ``scripts/two-hosts`` makes of one machine, so that a drill can kill a host's daemon.

To the MPI each is a machine of its own, with a daemon that starts its ranks. The loss of a daemon ends the job whatever
its ranks do, so that only `restart` helps: the next launch puts all ranks on the host that is left.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from emulator.errors import UsageError
from emulator.launch.job import environment
from emulator.launch.mpirun import Mpi

HOSTS = 2
CANNOT = 77
_TRIES, _TRY_S = 3, 20.0
_CLEANS_UP_S = 10.0
_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "two-hosts"
_LETTERS = "ab"


def placement(ranks: int) -> list[int]:
    """The host of each rank: the script places ranks on the hosts alternately."""
    return [rank % HOSTS for rank in range(ranks)]


def command(ranks: int, program: Sequence[str], lost: Collection[int] = ()) -> list[str]:
    """The command line of `ranks` ranks of `program` on the hosts that are not `lost`."""
    left = [_LETTERS[host] for host in range(HOSTS) if host not in lost]
    only = ["--only", left[0]] if len(left) < HOSTS else []
    return [str(_SCRIPT), *only, str(ranks // len(left)), sys.executable, *program]


def check(mpi: Mpi, ranks: int) -> None:
    """Refuse what two hosts cannot do, before anything is started.

    Raises
    ------
    UsageError
        An odd number of ranks, no script, or a machine on which no hosts can be made (the script says why).
    """
    if ranks % HOSTS:
        raise UsageError(f"two real hosts hold as many ranks each, got {ranks}: give -n an even number")
    if not _SCRIPT.exists():
        raise UsageError(f"real hosts are made by {_SCRIPT}, which is not there: use a checkout of the repository")
    path = {"PATH": f"{mpi.mpirun.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    for _ in range(_TRIES):
        status, said = _try(environment(path))
        if status == CANNOT:
            raise UsageError(f"no real hosts: {said}")
        if status is not None:
            return
    raise UsageError(
        f"no real hosts: {_TRIES} times mpirun did not start one rank on each within {_TRY_S:g} s: "
        f"see what {_SCRIPT} 1 true says"
    )


def _try(env: dict[str, str]) -> tuple[int | None, str]:
    """Run an empty job on both hosts; its exit status (None: no end in time) and its standard error.

    Open MPI's start across two hosts hangs now and then. The script gets SIGTERM, which it handles by removing the
    hosts.
    """
    with subprocess.Popen(
        [str(_SCRIPT), "1", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env
    ) as script:
        try:
            _, said = script.communicate(timeout=_TRY_S)
            return script.returncode, said.strip()
        except subprocess.TimeoutExpired:
            script.terminate()
            try:
                script.wait(_CLEANS_UP_S)
            except subprocess.TimeoutExpired:
                script.kill()
            return None, ""
