"""Every command of the documents: its module and options exist, and what it prints is what the document shows."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.docs import agree, commands
from scripts.docs.blocks import OMITTED, ROOT, Block, Document, Step, documents, read
from scripts.docs.running import environment, play
from tests.scripts.docs import in_process
from tests.scripts.docs.shorter import CHAPTERS, MENTIONED, STEPS, By, NotHere, Short, bare, kinds

DOCUMENTS = [read(path) for path in documents()]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=[document.name for document in DOCUMENTS])


@each_document
def test_each_command_exists(document):
    found = []
    for command in commands.named(document):
        try:
            commands.check(command)
        except commands.Stale as stale:
            found.append(str(stale))
    for span in document.spans():
        if span.startswith("-"):
            try:
                commands.check_option(span)
            except commands.Stale as stale:
                found.append(str(stale))
    assert not found, "\n".join(found)


@each_document
def test_each_command_stands_in_a_console_block(document):
    lines = [line for block in document.blocks if not block.is_console for line in block.lines]
    lines += [line.strip() for line in document.prose.splitlines() if line.startswith("    ")]
    found = [line for line in lines if line.startswith("$ ") or commands.PROGRAM.match(line)]
    assert not found, "write ```console and '$ ' before " + found[0]


@each_document
def test_each_import_of_python_exists(document):
    for block in document.blocks:
        if block.words[:1] == ["python"]:
            for node in ast.walk(ast.parse("\n".join(block.lines))):
                if isinstance(node, ast.ImportFrom):
                    module = importlib.import_module(node.module)
                    for name in node.names:
                        assert hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")
                elif isinstance(node, ast.Import):
                    for name in node.names:
                        importlib.import_module(name.name)


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("README.md", r"0 0\.0 emulated seconds"),
        ("docs/hosts.md", r"[\d.]+ [\d.e-]+ [\d.e-]+"),
        ("docs/simulation.md", r"1024\.0 0\.000\d+ 10240"),
    ],
)
def test_whole_programs_in_python_run_as_a_job_of_one(name, printed, tmp_path):
    """The first block; the ring of one rank takes no time, and recursive doubling of 1024 sends 10 messages each."""
    block = next(block for block in read(ROOT / name).blocks if block.words[:1] == ["python"])
    command = [sys.executable, "-c", "\n".join(block.lines)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(printed, done.stdout.strip()), done.stdout


@each_document
def test_each_link_leads_to_a_file_and_a_heading(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.prose):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        path = (document.path.parent / name).resolve() if name else document.path
        assert path.exists(), f"{document.name} links to {target}"
        if heading:
            assert heading in anchors(path), f"{path.relative_to(ROOT)} has no heading {heading}"


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a Markdown file."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


RUN = [document for document in DOCUMENTS if any(block.steps for block in document.blocks)]
SHORTENED = {"slow", "shown"}


def how(document: Document, block: Block, step: Step) -> Short | By | NotHere | None:
    """How the tests run a command; None: as it stands.

    Raises
    ------
    KeyError
        It is marked slow or shown and `tests.scripts.docs.shorter` does not say how.
    """
    if not SHORTENED & set(block.words):
        return None
    return CHAPTERS if document.path.parent.name == "cases" else STEPS[bare(step.command)]


@pytest.mark.parametrize("document", RUN, ids=[document.name for document in RUN])
def test_each_command_prints_what_the_document_shows(document, tmp_path):
    """Quick commands as they stand, slow ones in their short form."""

    def chosen(block: Block, step: Step) -> str | None:
        short = how(document, block, step)
        if short is None:
            return step.command
        return (short.command or step.command) if isinstance(short, Short) else None

    for block, step, status, output in play(document, tmp_path / "work", chosen, in_process.run):
        printed = agree.lines_of(output)
        where = f"{document.name}:{step.first}: {chosen(block, step)}"
        short = how(document, block, step)
        if isinstance(short, Short):
            assert status == short.status, f"{where}\n{output}"
            missing = missing_shapes(step.output, printed, short.other)
            assert not missing, f"{where}\ndoes not print {missing}, but\n{output}"
            continue
        assert step.output or status == 0, f"{where}\n{output}"
        difference = agree.differs(step.output, printed, timed="timed" in block.words)
        assert difference is None, f"{where} (make docs renews it)\n{difference}"


def missing_shapes(expected: list[str], printed: list[str], other: str) -> list[str]:
    """The lines of a document that a short form does not print, by their shapes, but those that match `other`."""
    shapes = {agree.shape(line) for line in printed}
    return [
        line
        for line in expected
        if line.strip() != OMITTED and agree.shape(line) not in shapes and not (other and re.search(other, line))
    ]


def test_a_line_that_a_short_form_does_not_print_is_found():
    expected = ["...", "total  3.1 ms  ███", "recovered ring by shrink: 8 ranks, 7 after"]
    assert missing_shapes(expected, ["total  980 us  █", "recovered ring by shrink: 4 ranks, 3 after"], "") == []
    assert missing_shapes(expected, ["total  980 us  █", "lost"], "") == expected[2:]
    assert missing_shapes(expected, ["total  980 us  █", "lost"], "^recovered") == []


def commands_of_blocks() -> dict[str, Short | By | NotHere | None]:
    """Every command of a block, and how the tests run it."""
    return {
        bare(step.command): how(document, block, step)
        for document in RUN
        for block in document.blocks
        for step in block.steps
    }


def test_how_a_command_is_run_is_said_of_commands_that_are_shown():
    assert set(STEPS) <= set(commands_of_blocks())
    for one in [*STEPS.values(), *MENTIONED.values(), CHAPTERS]:
        if isinstance(one, By):
            file, _, name = one.test.partition("::")
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert f"def {name}(" in text if name else "def test_" in text, one.test


@each_document
def test_each_command_of_a_sentence_is_run(document):
    """A command of a block is like it: the same module and verb with at least its options; or a table says how."""
    ran = [command for command, one in commands_of_blocks().items() if not isinstance(one, NotHere)]
    known = [kind for command in [*ran, *MENTIONED] for kind in kinds(command)]
    spans = [span for span in document.spans() if commands.PROGRAM.match(span)]
    lost = [
        span
        for span in spans
        for program, verb, options in kinds(span)
        if span not in STEPS
        and not any((program, verb) == one[:2] and options <= one[2] for one in known)
        and not (verb == "VERB" and any(program == one[0] for one in known))
    ]
    assert not lost, "say in tests/scripts/docs/shorter.py how it is run: " + "; ".join(lost)
