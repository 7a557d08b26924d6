"""Message sizes at which the MPI library switches its protocol, as the library reports them."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_DOCUMENTED = {
    "btl_sm_eager_limit": 4096,
    "btl_sm_rndv_eager_limit": 32768,
    "btl_tcp_eager_limit": 65536,
}
_HEADERS = 0.1  # a limit counts the header too, so the switch comes a little earlier than it says
HEADER = 64
"""Bytes of a message's header, at most, which the limits count."""
_NAMES = (*_DOCUMENTED, "btl_tcp_rndv_eager_limit")


def limits(library: str) -> tuple[dict[str, int], str]:
    """Read the library's protocol limits, or take those of its documentation.

    Parameters
    ----------
    library : name and version of the MPI library

    Returns
    -------
    limits, source
        Bytes by parameter name, and where they come from; empty where the library does not tell.
    """
    if not library.startswith("Open MPI"):
        return {}, f"{library} does not say"
    beside = Path(sys.executable).with_name("ompi_info")
    program = str(beside) if beside.exists() else shutil.which("ompi_info")
    found: dict[str, int] = {}
    if program is not None:
        command = [program, "--param", "btl", "all", "--level", "9", "--parsable"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            found = parse(subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout)
    return (found, "ompi_info") if found else (dict(_DOCUMENTED), "Open MPI's documentation")


def transport(same_host: bool) -> str:
    """The transport of Open MPI between two ranks, by the prefix of its limits: ``"sm"``, ``"tcp"``, or "" if unknown.

    Ranks of one host share memory, and others speak TCP, unless the user has chosen: then that is in the environment.
    """
    chosen = {name: os.environ.get(f"OMPI_MCA_{name}") for name in ("pml", "btl")}
    if chosen["pml"] not in (None, "ob1"):
        return ""  # UCX and the like have limits of their own
    words = chosen["btl"] or "self,sm,tcp"
    names = words.lstrip("^").split(",")
    allowed = [name for name in ("sm", "tcp") if (name in names) != words.startswith("^")]
    return next((name for name in allowed if same_host or name != "sm"), "")


def parse(answer: str) -> dict[str, int]:
    """Extract the limits from the output of ``ompi_info --parsable``."""
    found = {}
    for line in answer.splitlines():
        parts = line.split(":")
        if len(parts) >= 7 and parts[5] == "value" and parts[4] in _NAMES and parts[6].isdigit():
            found[parts[4]] = int(parts[6])
    return found


def near(last: int, first: int, known: Mapping[str, int], transport: str) -> Sequence[str]:
    """Name the limits of a transport between the last size of one segment and the first of the next."""
    own = {name: limit for name, limit in known.items() if name.startswith(f"btl_{transport}_")}
    return [name for name, limit in own.items() if last * (1 - _HEADERS) <= limit <= first * (1 + _HEADERS)]
