"""Kill a rank: faults, detection, recovery, and what recovery costs.

``python -m faults drill ring -n 8 --fault 'kill 3 @ step 20' --recovery shrink``; in a program of one's own,
`faults.recovering`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Recovering", "recovering"]


def __getattr__(name: str) -> Any:
    """`recovering` on demand: whoever only reads plans or results needs no MPI."""
    if name in __all__:
        from faults import recover

        return getattr(recover, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
