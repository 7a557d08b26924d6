"""Errors that are not bugs of this program: each is printed as one line and sets the exit status."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class UsageError(ValueError):
    """Bad usage or bad input: exit status 2.

    The message is one line that states the rule, the value received and the remedy, e.g.
    ``"quorum must be in (0 %, 100 %], got 120 %: give a share such as --quorum '95 %'"``.
    """

    exit_code = 2


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=_Named)


class Registry(dict[str, Entry]):
    """A mapping of entries by name, in the given order; `what` describes them in an error, such as ``"a policy"``."""

    def __init__(self, what: str, *entries: Entry) -> None:
        super().__init__((entry.name, entry) for entry in entries)
        self.what = what

    def of(self, name: str) -> Entry:
        """Look up an entry; the UsageError for an unknown name lists all names."""
        if name not in self:
            raise UsageError(f"{self.what} is one of {', '.join(self)}, got {name!r}")
        return self[name]


def read_text(path: Path, what: str) -> str:
    """Read an input file as UTF-8; on failure the UsageError calls the file `what`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{what} cannot be read: {reason}") from None


class CheckFailed(RuntimeError):
    """A wrong result or a failed check: exit status 1."""

    exit_code = 1


class CannotWrite(CheckFailed):
    """Files of the result cannot be written, for example on a full disk: exit status 1, after all else was printed."""

    def __init__(self, path: object, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"cannot write {path}: {reason}; make room there, or choose another place")

    def beside(self, earlier: "CannotWrite | None") -> "CannotWrite":
        """Join the error for this file with those of an earlier error."""
        return self if earlier is None else CannotWrite(f"{earlier.path} and {self.path}", self.reason)


def write_all(*writes: Callable[[], object]) -> CannotWrite | None:
    """Make all of these writes; returns the error of those that failed, to raise after all else is printed."""
    problem: CannotWrite | None = None
    for write in writes:
        try:
            write()
        except CannotWrite as error:
            problem = error.beside(problem)
    return problem


def on_root(comm: Any, function: Callable[[], T]) -> T:
    """Call `function` on rank 0 of a communicator and return its value, or raise its error, on every rank."""
    value, problem = None, None
    if comm.Get_rank() == 0:
        try:
            value = function()
        except (UsageError, CheckFailed) as error:
            problem = error
    value, problem = comm.bcast((value, problem))
    if problem is not None:
        raise problem
    return value


def check_directory() -> None:
    """Raise a UsageError if the current directory was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        reason = "a command needs a current directory, and this one has been removed: cd to one that exists"
        raise UsageError(reason) from None
