"""A text corpus that every Python has: the documentation strings of its standard library. Counting and searching it."""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_WORD = re.compile(r"[a-z]{2,}")
_OTHERS = ("site-packages", "test", "tests", "idlelib", "lib2to3")
Hit = tuple[float, str]


class Document(NamedTuple):
    """A documentation string and the dotted name that it belongs to."""

    name: str
    text: str


def load(most: int) -> list[Document]:
    """The first `most` documentation strings of the standard library, in the order of their files."""
    library = Path(sysconfig.get_path("stdlib"))
    found: list[Document] = []
    for path in sorted(library.rglob("*.py")):
        inside = path.relative_to(library)
        if any(part in _OTHERS for part in inside.parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue
        found += _documents(tree, ".".join(inside.with_suffix("").parts).removesuffix(".__init__"))
        if len(found) >= most:
            break
    return found[:most]


def _documents(node: ast.AST, name: str) -> Iterator[Document]:
    """The documentation strings of a module or class and of everything in it."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, kinds):
        if text := ast.get_docstring(node):
            yield Document(name, text)
        for member in node.body:
            if isinstance(member, kinds[1:]):
                yield from _documents(member, f"{name}.{member.name}")


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower())


def search(documents: Iterable[Document], question: str, most: int) -> list[Hit]:
    """The best documents for a question, as (score, name), best first.

    The score is the number of times that a word of the question occurs, for each word of the document (with ten
    more, so that a document of one word does not win).
    """
    asked = set(words(question))
    hits = []
    for document in documents:
        those = words(document.text)
        count = sum(word in asked for word in those)
        if count:
            hits.append((count / (10 + len(those)), document.name))
    return best(hits, most)


def best(hits: Iterable[Hit], most: int) -> list[Hit]:
    """The `most` best of these hits; equal scores in the order of their names."""
    return sorted(hits, key=lambda hit: (-hit[0], hit[1]))[:most]
