"""Running a document's command in pytest's own process, where it starts no other: what it prints is the same there.

An interpreter and its imports take longer than most of these commands. How commands start, end and meet a closed or a
full output as processes is tested in `tests.emulator.run.test_output` and with each command.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from pathlib import Path
from unittest import mock

import click
from click.testing import CliRunner

from faults.patterns.catalogue import CATALOGUE
from scripts.docs.commands import command_of
from scripts.docs.running import environment, in_shell

_ALONE = {
    "demos.speedup": None,
    "demos.scale": None,
    "demos.design": {"check", "draw", "new", "plan", "predict", "receipts", "tolerance", "tools"},
    "emulator": {"compare", "networks", "trace"},
    "faults": {"month"},
}
"""Commands that start no processes, with or without ``--simulate``: all verbs, or those named."""


def run(command: str, folder: Path) -> tuple[int, str]:
    """Run a command of a document in a folder; its exit status, its output and errors as one text."""
    bare, _, kept = command.partition(" > ")
    found = _alone(bare)
    if found is None:
        return in_shell(command, folder)
    main, arguments = found
    argv = mock.patch.object(sys, "argv", [main.name, *arguments])
    with contextlib.chdir(folder), argv, mock.patch.dict(CATALOGUE):  # to which a command adds a case's drill
        done = CliRunner().invoke(main, arguments, env=environment(), catch_exceptions=False)
    if kept:
        (folder / shlex.split(kept, comments=True)[0]).write_text(done.stdout)
        return done.exit_code, done.stderr
    return done.exit_code, done.output


def _alone(command: str) -> tuple[click.Command, list[str]] | None:
    """The click command and its arguments, if it is nothing but one of ours that starts no process."""
    text = command.replace("\\\n", " ")
    if re.search(r"[|<>&;$`*]", re.sub(r"'[^']*'", "", text)):
        return None
    program, *rest = shlex.split(text, comments=True)
    if program != "python" or rest[0] != "-m":
        return None
    module, arguments = rest[1], rest[2:]
    main = command_of(module)
    verbs = _ALONE.get(module, set())
    alone = "--simulate" in arguments and module != "emulator"  # which runs a program that is not ours
    if main is not None and (alone or verbs is None or arguments[0] in verbs):
        return main, arguments
    return None
