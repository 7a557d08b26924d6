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
from scripts.docs.blocks import ROOT, documents, read
from scripts.docs.running import environment, play

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


@pytest.mark.parametrize("document", RUN, ids=[document.name for document in RUN])
def test_each_quick_command_prints_what_the_document_shows(document, tmp_path):
    for block, step, status, output in play(document, tmp_path / "work", {"slow", "shown"}):
        printed = agree.lines_of(output)
        where = f"{document.name}:{step.first}: {step.command}"
        assert step.output or status == 0, f"{where}\n{output}"
        difference = agree.differs(step.output, printed, timed="timed" in block.words)
        assert difference is None, f"{where} (make docs renews it)\n{difference}"
