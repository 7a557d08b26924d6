"""Find the algorithms of the collectives through the entry point group ``emulator.collectives``.

The emulator itself has no algorithm. A module that another package names in this group
offers barrier, broadcast, all_gather and so on as functions of a communicator and numpy arrays.
"""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
from pathlib import Path
from typing import Any

from emulator.errors import UsageError

GROUP = "emulator.collectives"


def find() -> Any:
    """Load the module that carries collectives.

    Raises
    ------
    UsageError
        No installed package names one, and there is no source tree around this one that does.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        return entry.load()
    name = _in_source_tree()
    if name is None:
        raise UsageError(
            f"collectives need an algorithm package, the entry point group {GROUP!r} is empty: install the project "
            f"(pip install -e .), or pass emulate(..., collectives=module)"
        )
    return importlib.import_module(name)


def _in_source_tree() -> str | None:
    """Read the group from the setup.cfg beside this package: a checkout works without being installed."""
    settings = configparser.ConfigParser()
    settings.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    lines = settings.get("options.entry_points", GROUP, fallback="").split("\n")
    names = [line.partition("=")[2].strip() for line in lines if "=" in line]
    return names[0] if names else None
