"""Read a document: its blocks, their commands, and the commands and options in sentences and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OMITTED = "..."
"""The line that stands for lines that are left out."""

_FENCE = re.compile(r"^```(.*)$")
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


@dataclass
class Step:
    """One command of a block: its text for the shell, the lines below it, and where these lines stand."""

    command: str
    output: list[str]
    first: int
    """Index of the first line of the output in the document."""


@dataclass
class Block:
    """A fenced block: the words after the fence, its lines, and the index of the first of them in the document."""

    words: list[str]
    lines: list[str]
    first: int
    steps: list[Step] = field(default_factory=list)

    @property
    def is_console(self) -> bool:
        return self.words[:1] == ["console"]

    @property
    def file(self) -> str | None:
        """Name of the file that the block is, if it is one."""
        return self.words[1] if len(self.words) > 1 and not self.is_console else None


@dataclass
class Document:
    """A Markdown file: its lines, its blocks in order, and its text without them."""

    path: Path
    lines: list[str]
    blocks: list[Block]
    prose: str

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    def spans(self) -> Iterator[str]:
        """The text between backquotes in sentences and tables."""
        for match in _SPAN.finditer(self.prose):
            yield " ".join(match[2].replace("\\|", "|").split())


def documents() -> list[Path]:
    """The documents that are tested: the README and everything in docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read(path: Path) -> Document:
    """Read a document."""
    lines = path.read_text(encoding="utf-8").splitlines()
    blocks: list[Block] = []
    prose = []
    inside = False
    for index, line in enumerate(lines):
        fence = _FENCE.match(line)
        if fence and not inside:
            blocks.append(Block(fence[1].split(), [], index + 1))
        elif not fence and inside:
            blocks[-1].lines.append(line)
        elif not fence:
            prose.append(line)
        inside ^= bool(fence)
    if inside:
        raise ValueError(f"{path}: the block that begins in line {blocks[-1].first} has no end")
    for block in blocks:
        if block.is_console:
            block.steps = _steps(block)
    return Document(path, lines, blocks, "\n".join(prose))


def _steps(block: Block) -> list[Step]:
    """Split a console block at its prompts; empty lines before a prompt belong to no output."""
    steps: list[Step] = []
    continued = False
    for index, line in enumerate(block.lines, block.first):
        if continued:
            steps[-1].command += "\n" + line
            steps[-1].first = index + 1
        elif line.startswith("$ "):
            steps.append(Step(line[2:], [], index + 1))
        elif steps:
            steps[-1].output.append(line)
        else:
            raise ValueError(f"line {index + 1}: a console block begins with '$ command', got {line!r}")
        continued = line.endswith("\\") and not steps[-1].output
    for step in steps:
        while step.output and not step.output[-1].strip():
            step.output.pop()
    return steps
