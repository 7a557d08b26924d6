"""The chapters of the cases: every command that runs or drills a case prints what they show below it.

What a chapter shows was printed by real ranks (`make docs`), and simulated ones must print the same.
The other commands are run by `tests.scripts.docs.test_documents`.
"""

from __future__ import annotations

import importlib
import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emulator import results
from scripts.docs.blocks import OMITTED, read
from tests.demos.cases import test_agentic, test_rag
from tests.demos.launched import WIDE, same_as_reported

ROOT = Path(__file__).parents[3]
CHAPTERS = sorted((ROOT / "docs" / "cases").glob("*.md"))
CHECKS: dict[str, Callable[[dict[str, Any]], Any]] = {"rag": test_rag.check_run, "agentic": test_agentic.check_run}
RANKS = "8"
"""Of a job whose command names no number."""
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")
_MEASURED = re.compile(r"^(compute|latency|bandwidth|waiting|total) .*%$|by at most|err by")
"""Lines whose numbers depend on which message a busy machine delivers first, or on rounding."""
_OFF = 0.25
_ROUNDING = 1e-9


def shown(chapter: Path) -> list[tuple[str, list[str]]]:
    """Commands of a chapter that start a job, each with the lines below it but those that are left out."""
    steps = [step for block in read(chapter).blocks if "slow" in block.words for step in block.steps]
    return [(re.sub(r"\\\n\s*", "", step.command), [line for line in step.output if line.strip() not in ("", OMITTED)])
            for step in steps]  # fmt: skip


def simulated(command: str, folder: Path) -> list[str]:
    """Run a command of a chapter on as many simulated ranks, in this process; its lines."""
    words = _words(command)
    ranks = words[words.index("-n") + 1] if "-n" in words else RANKS
    module, *options = words[words.index("-m") + 1 :]
    if "-n" in options:
        del options[(at := options.index("-n")) : at + 2]
    options += ["--simulate", ranks, "--out", str(folder)]
    done = CliRunner().invoke(importlib.import_module(module).main, options, env=WIDE)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def _words(command: str) -> list[str]:
    """A command's words, files by their absolute paths."""
    return [str(ROOT / word) if word.endswith(".toml") and "=" not in word else word for word in shlex.split(command)]


def same(expected: str, seen: str) -> bool:
    """Whether two lines say the same; measured numbers to a quarter, what is below any rounding altogether."""
    if not _MEASURED.search(expected):
        return expected.split() == seen.split()
    if _NUMBER.sub("#", expected).split() != _NUMBER.sub("#", seen).split():
        return False
    if expected.endswith("%"):  # a term; how far off it is, and its share, follow from the two times
        expected, seen = (" ".join(re.split(r"\s{2,}", line)[:3]) for line in (expected, seen))
    pairs = zip(*([float(one.replace(",", "")) for one in _NUMBER.findall(line)] for line in (expected, seen)),
                strict=True)  # fmt: skip
    return all(math.isclose(a, b, rel_tol=_OFF) or max(abs(a), abs(b)) < _ROUNDING for a, b in pairs)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_commands_print_what_the_chapter_shows(chapter: Path, tmp_path: Path) -> None:
    commands = shown(chapter)
    assert commands
    for number, (command, lines) in enumerate(commands):
        folder = tmp_path / str(number)
        folder.mkdir()
        given = simulated(command, folder)
        if command.startswith("mpirun"):
            check_result(chapter.stem, given, folder)
        elif " drill " in command:
            check_drill(folder)
        left = iter(given)
        for line in lines:
            assert any(same(line, one) for one in left), f"{command}\ndoes not print, in this order:\n{line}"


def check_result(name: str, lines: list[str], folder: Path) -> None:
    """Check a case's run by its result file: as its report prints it, and with what its own tests demand."""
    (saved,) = folder.rglob(results.RESULT)
    assert same_as_reported("\n".join(lines), saved.parent).startswith("page: ")
    CHECKS.get(name, dict)(results.load(saved.parent))


def check_drill(folder: Path) -> None:
    """Check by its result file that a case survived its drill: every fault fired, and every check holds."""
    (saved,) = folder.rglob(results.RESULT)
    drill = results.load(saved.parent)["drill"]
    assert drill["outcome"] == "recovered"
    assert all(fault["fired"] for fault in drill["faults"])
    assert all(check["ok"] for check in drill["checks"].values())


def test_a_changed_figure_or_word_is_found() -> None:
    line = "waiting     87.2 us    86.6 us  -0.7 %        4.0 %"
    assert same(line, "waiting     90.0 us    86.6 us  -4.0 %        4.1 %")
    assert not same(line, "waiting     187 us    86.6 us  -50 %        4.0 %")
    assert not same(line, "waiting     87.2 ms    86.6 us  -0.7 %        4.0 %")
    assert not same("median  97 %  96 %", "median  97 %  95 %")
    assert same("differ by at most 1.1e-12 (allowed 1e-09): PASS", "differ by at most 8.7e-13 (allowed 1e-09): PASS")
    assert not same("differ by at most 1.1e-12 (allowed 1e-09): PASS", "differ by at most 1e-3 (allowed 1e-09): FAIL")
