"""Run a document's commands, one after the other, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.docs.blocks import ROOT, Block, Document, Step

LIMIT = 300.0
"""Seconds after which a command is ended."""
_ENDS_S = 10.0


def environment() -> dict[str, str]:
    """The environment of a reader in the project's activated environment and a terminal of 100 columns."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    own["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), own.get("PATH", "")])
    return own | {"COLUMNS": "100", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def furnish(folder: Path) -> None:
    """Make what the documents take as given: the project's folders, as seen from its root."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("demos", "examples", "scripts"):
        (folder / name).symlink_to(ROOT / name)


def play(
    document: Document,
    folder: Path,
    chosen: Callable[[Block, Step], str | None],
    run: Callable[[str, Path], tuple[int, str]] | None = None,
) -> Iterator[tuple[Block, Step, int, str]]:
    """Run what `chosen` says for each command of a document, nothing for None; give status and output of each.

    `run` is what runs a command in a folder; absent: a shell.
    """
    run = run or in_shell
    furnish(folder)
    for block in document.blocks:
        if block.file:
            (folder / block.file).write_text("\n".join(block.lines) + "\n", encoding="utf-8")
        for step in block.steps:
            if command := chosen(block, step):
                yield block, step, *run(command, folder)


def in_shell(command: str, folder: Path) -> tuple[int, str]:
    """Run a command of a document in a shell; its exit status, its output and errors as one text.

    Raises
    ------
    TimeoutError
        It has not ended within `LIMIT`.
    """
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_ENDS_S)
            with contextlib.suppress(ProcessLookupError):  # all of it has ended
                os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutError(f"not ended after {LIMIT:g} s: {command}") from None
        return process.returncode, output
