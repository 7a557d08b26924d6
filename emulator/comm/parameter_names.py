"""Parameter names of mpi4py's methods, for what stands in their place."""

from __future__ import annotations

from typing import Any


def named_as_in_mpi4py(name: str, send: Any) -> Any:
    """Give a send the parameter names of mpi4py's method `name`: `obj` where it is lower-case, else `buf`."""
    return (lambda self, obj, dest, tag=0: send(self, obj, dest, tag)) if name.islower() else send
