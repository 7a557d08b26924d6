"""Many objects in one message, so that one that cannot travel takes none of the others with it.

    [1, 2.5, "x"]           plain objects share one pickle: some 20 ns each
    [1, Thing(), (2, 3)]    otherwise each has a pickle of its own: it may refuse to be packed, or to be opened
                            (an exception class whose constructor wants arguments does), and only it is lost

Opening gives each object back, or a `Damaged` with the traceback in its place.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})

Parcel = tuple[bool, list[Any]]


class Damaged(NamedTuple):
    """In place of an object that could not travel; ``text`` says why."""

    text: str


def wrap(objects: Sequence[Any]) -> Parcel:
    """What to put into a message for ``objects``: itself picklable whatever they are."""
    if _PLAIN.issuperset(map(type, objects)):
        return True, list(objects)
    return False, [_pickled(item) for item in objects]


def unwrap(parcel: Parcel) -> list[Any]:
    """The objects of `wrap`, in order."""
    plain, items = parcel
    return items if plain else [_opened(item) for item in items]


def _pickled(item: Any) -> bytes | Damaged:
    try:
        return pickle.dumps(item, protocol=5)
    except Exception:
        return Damaged(f"a {type(item).__name__}, cannot be sent:\n{traceback.format_exc()}")


def _opened(item: bytes | Damaged) -> Any:
    if isinstance(item, Damaged):
        return item
    try:
        return pickle.loads(item)
    except Exception:
        return Damaged(f"cannot be read on arrival:\n{traceback.format_exc()}")
