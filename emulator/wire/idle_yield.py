"""Temporarily stop Open MPI from yielding the core after each poll that finds no message.

mpirun sets that where ranks outnumber the cores. For a rank that looks a last time before it sleeps it costs two
switches of the core for nothing. The switch is a function of Open MPI's own (opal_progress_set_yield_when_idle).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

_LIBRARIES = ("libopen-pal.so.80", "libopen-pal.so.40")  # of Open MPI 5 and 4


def switch() -> Callable[[bool], object]:
    """The function that sets whether MPI yields; it does nothing if MPI does not yield or is another one."""
    for name in _LIBRARIES:
        try:
            library = ctypes.PyDLL(name, mode=os.RTLD_NOW | os.RTLD_NOLOAD)  # only if MPI has loaded it
            function = library.opal_progress_set_yield_when_idle
        except (AttributeError, OSError):
            continue
        function.argtypes, function.restype = [ctypes.c_bool], ctypes.c_bool
        yields = function(True)  # gives what it was
        function(yields)
        if yields:
            return function
    return lambda on: None
