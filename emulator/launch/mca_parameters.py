"""Set default parameters of an Open MPI that is installed in this Python environment.

They make a plain ``mpirun -n 16`` fit for a laptop: more ranks than cores are allowed, and the transports of
`emulator.launch.mpirun.TRANSPORTS` are used. A system-wide or a cluster's MPI is never changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from emulator.errors import UsageError
from emulator.launch.mpirun import TRANSPORTS

_PARAMETERS = {
    "prte-mca-params.conf": ["rmaps_default_mapping_policy = :oversubscribe"],
    "openmpi-mca-params.conf": [f"{name} = {value}" for name, value in TRANSPORTS.items()],
}
_HEADING = "# cluster-emulator: more ranks than cores, and a quick start of the ranks"


def files() -> list[Path]:
    """List the parameter files of this environment's Open MPI >= 5; empty if its MPI is older or elsewhere."""
    folder = Path(sys.prefix) / "etc"
    found = [folder / name for name in _PARAMETERS]
    return found if all(path.exists() for path in found) else []  # the first came with Open MPI 5


def is_tuned() -> bool:
    """Whether every parameter file of this environment has all of our parameters."""
    return bool(files()) and all(not _missing(path) for path in files())


def _missing(path: Path) -> list[str]:
    present = {line.split("=")[0].strip() for line in path.read_text().splitlines() if not line.startswith("#")}
    return [line for line in _PARAMETERS[path.name] if line.split("=")[0].strip() not in present]


def tune() -> list[Path]:
    """Add missing parameters, keep those that the user has set, and return the changed files.

    Raises
    ------
    UsageError
        A parameter file cannot be written.
    """
    changed = []
    for path in files():
        missing = _missing(path)
        if not missing:
            continue
        try:
            with path.open("a") as file:
                file.write("\n".join(["", _HEADING, *missing, ""]))
        except OSError as error:
            raise UsageError(f"{path} must be writable to configure this MPI, it is not: {error.strerror}") from None
        changed.append(path)
    return changed
