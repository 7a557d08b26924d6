"""What all tests share: property tests take the same examples every time and have no deadline of their own."""

import gc
import os
import sys
from collections.abc import Generator

import pytest
from hypothesis import settings

# Before a test imports `demos`, which keeps a mere launcher out of MPI: some tests call MPI in pytest's own process.
from mpi4py import MPI

from emulator.launch.job import ONE_THREAD
from tests import ranks

assert MPI.Is_initialized()

# The workers share the cores, as ranks do; set before anything imports numpy.
os.environ.update(ONE_THREAD)

# Keep bytecode, as `emulator.launch.job` does for ranks: else every worker and command compiles all modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Tests' commands print into pipes: at a pipe's width, whatever the terminal's is.
os.environ.pop("COLUMNS", None)

settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Garbage collection begins after it, and leaves out the thousands of tests, which stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)  # simulations keep thousands of objects for a while: fewer searches in vain
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cases that share a launch, and tests that share what a module has made, stay in one process of pytest.

    The documents' tests begin, some of which are the longest: at the end the other process would wait for them.
    """
    items.sort(key=lambda item: not item.nodeid.startswith("tests/scripts/"))
    for item in items:
        n = _ranks(item)
        if n is not None:
            item.add_marker(pytest.mark.xdist_group(ranks.launch_of(item.function.__module__, n)))
        elif "module" in _scopes(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Only what has been selected is launched."""
    for item in session.items:
        n = _ranks(item)
        if n is not None:
            ranks.select(item.function.__module__, n, item.callspec.params["case"])


def _ranks(item: pytest.Item) -> int | None:
    return getattr(getattr(item, "function", None), "ranks", None)


def _scopes(item: pytest.Item) -> set[str]:
    fixtures = item._fixtureinfo.name2fixturedefs
    return {definition.scope for definitions in fixtures.values() for definition in definitions}
