"""Results whose own fields are not those that this version writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from emulator.errors import UsageError


@contextlib.contextmanager
def of_this_version(*runs: Path) -> Iterator[None]:
    """Turn an error about a command's own fields into one line: the schema knows those that all commands share."""
    try:
        yield
    except UsageError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        named = " or ".join(map(str, runs))
        raise UsageError(
            f"a result is read by the version that wrote it, {named} has a field of another kind "
            f"({type(error).__name__}: {error}): run its command again"
        ) from None
