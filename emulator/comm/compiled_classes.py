"""Replace methods of compiled classes, whose attributes cannot be assigned."""

from __future__ import annotations

import ctypes
import gc
from typing import Any


def replace_methods(cls: type, methods: dict[str, Any]) -> None:
    """Replace methods of a compiled class in place, also for code that has imported it already."""
    members: Any = gc.get_referents(cls.__dict__)[0]  # the dictionary behind the read-only view
    members.update(methods)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))
