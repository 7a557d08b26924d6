"""Find the algorithms of the collectives through the entry point group ``emulator.collectives``.

The emulator itself has no algorithm. A module that another package names in this group
offers barrier, broadcast, all_gather and so on as functions of a communicator and numpy arrays.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any

from emulator.errors import UsageError

GROUP = "emulator.collectives"


def name() -> str | None:
    """The name of the module that implements collectives; None if no installed package provides one.

    It reads what every installed package says of itself: one rank asks, and tells the others.
    """
    import importlib.metadata

    return next((entry.value for entry in importlib.metadata.entry_points(group=GROUP)), None)


def pin(module: str) -> None:
    """Import the package of a module, so that the module is found later whatever sys.path is then."""
    importlib.import_module(module.partition(".")[0])


@functools.cache
def find(module: str | None = None) -> Any:
    """Load the module that carries collectives.

    Parameters
    ----------
    module : its name, if that is known

    Raises
    ------
    UsageError
        No installed package names one.
    """
    if module := module or name():
        return pkgutil.resolve_name(module)
    raise UsageError(
        f"collectives need an algorithm package, the entry point group {GROUP!r} is empty: install the project "
        f"(pip install -e .), or pass emulate(..., collectives=module)"
    )
