"""The design sheet: six decisions in a TOML file, checked, priced, planned and varied. No MPI, no command line.

sheet = load("ctr.toml")
found = check(sheet)                      # what a reviewer asks
told = predict(sheet)                     # terms, S(p), p*, the node count to ask for, the job with failures
ranked = plan(sheet)                      # every legal design, the best first
margins = tolerance(sheet)                # how far alpha, beta, ... may grow before the answer changes
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from emulator.design.sheets.sheet import Sheet, load, parse

if TYPE_CHECKING:
    from emulator.design.planning.planner import plan
    from emulator.design.planning.tolerance import tolerance
    from emulator.design.prices.message_level import predict
    from emulator.design.reviewing.review import check

__all__ = ["Sheet", "check", "load", "parse", "plan", "predict", "tolerance"]

_MODULES = {
    "check": "reviewing.review",
    "plan": "planning.planner",
    "predict": "prices.message_level",
    "tolerance": "planning.tolerance",
}


def __getattr__(name: str) -> Any:
    """Import the function's module at its first use: a prediction needs neither the planner nor the reviewer."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
