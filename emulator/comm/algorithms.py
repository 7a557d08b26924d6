"""Find the algorithms of the collectives through the entry point group ``emulator.collectives``.

The emulator itself has no algorithm. A module that another package names in this group
offers barrier, broadcast, all_gather and so on as functions of a communicator and numpy arrays.
"""

from __future__ import annotations

from typing import Any

from emulator.errors import UsageError

GROUP = "emulator.collectives"


def find() -> Any:
    """Load the module that carries collectives.

    Raises
    ------
    UsageError
        No installed package names one.
    """
    import importlib.metadata  # slow to import, and every rank loads this module

    for entry in importlib.metadata.entry_points(group=GROUP):
        return entry.load()
    raise UsageError(
        f"collectives need an algorithm package, the entry point group {GROUP!r} is empty: install the project "
        f"(pip install -e .), or pass emulate(..., collectives=module)"
    )
