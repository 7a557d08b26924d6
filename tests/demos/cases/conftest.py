"""What the tests of the cases share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.patterns import catalogue


@pytest.fixture
def catalogue_as_it_was() -> Iterator[None]:
    """Take the drills of cases, which a command adds, out of the catalogue again."""
    before = dict(catalogue.CATALOGUE)
    yield
    catalogue.CATALOGUE.clear()
    catalogue.CATALOGUE.update(before)
