"""Faults of checkpoints: damaged files and disks, where a rank stores its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.inject.injector import Handler

if TYPE_CHECKING:
    from faults.checkpoint import Store


def handlers(store: Store) -> dict[str, Handler]:
    """Map each kind of fault to what the injector calls."""
    return {
        "corrupt": lambda event: store.corrupt(event.rank),
        "full": lambda event: store.fill_disk(event.duration_s),
        "stall": lambda event: store.stall(event.duration_s),
    }
