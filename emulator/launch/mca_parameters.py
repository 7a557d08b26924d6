"""The parameter files of an Open MPI that lives in this Python environment.

Written once, they make a plain ``mpirun -n 16`` right for a laptop: more ranks than cores are welcome, and the
quick transports are chosen (with the ``ofi`` transport left out MPI_Init loses a second of sleep, and only ``ob1``
is fully adapted to rank failures). A system-wide or a cluster's MPI is never touched.
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
    """The parameter files of this environment's own Open MPI >= 5; none if its MPI is older or lives elsewhere."""
    folder = Path(sys.prefix) / "etc"
    found = [folder / name for name in _PARAMETERS]
    return found if all(path.exists() for path in found) else []  # the first came with Open MPI 5


def is_tuned() -> bool:
    """Whether every parameter file of this environment has our lines."""
    return bool(files()) and all(not _missing(path) for path in files())


def _missing(path: Path) -> list[str]:
    present = {line.split("=")[0].strip() for line in path.read_text().splitlines() if not line.startswith("#")}
    return [line for line in _PARAMETERS[path.name] if line.split("=")[0].strip() not in present]


def tune() -> list[Path]:
    """Add what is missing; a parameter that the user set already stands. Returns the files changed.

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
            raise UsageError(f"{path} must be writable to tune this MPI, it is not: {error.strerror}") from None
        changed.append(path)
    return changed
