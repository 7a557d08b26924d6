"""The same test on MPI itself and on an emulated network."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from tests.ranks import on_ranks


def on_both_carriers(n: int, **parameters: list[Any]) -> Callable[[Callable[..., None]], Any]:
    """As `on_ranks`, and again as ``..._emulated`` on 10 Gbit/s Ethernet without pacing."""

    def decorate(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def emulated(comm: Any, **values: Any) -> None:
            function(comm, **values)

        emulated.__name__ += "_emulated"
        options = {"pace": "none", "compute": "none"}
        module = sys.modules[function.__module__]
        setattr(module, emulated.__name__, on_ranks(n, net="10gbe", emulation=options, **parameters)(emulated))
        return on_ranks(n, **parameters)(function)

    return decorate
