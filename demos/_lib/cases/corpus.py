"""A text corpus in every Python installation: documentation strings of its libraries, counted and searched."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from emulator.errors import UsageError

_WORD = re.compile(r"[a-z]{2,}")
_OTHERS = ("site-packages", "test", "tests", "idlelib", "lib2to3")
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Hit = tuple[float, str]


class Document(NamedTuple):
    """A documentation string and its dotted name."""

    name: str
    text: str


def load(most: int) -> list[Document]:
    """The first `most` documentation strings of the standard library, in the order of files.

    Raises
    ------
    UsageError
        This Python has no sources of its standard library.
    """
    library = Path(sysconfig.get_path("stdlib"))
    found = list(islice((one for path in _sources(library) for one in _of_file(path, library)), most))
    if not found:
        raise UsageError(f"the text is the standard library's documentation, and {library} has no sources with any: "
                         "use a Python that is installed with its sources")  # fmt: skip
    return found


def of_packages(names: Sequence[str], part: int = 0, parts: int = 1) -> Iterator[Document]:
    """The documentation strings of installed packages in the order of files; of every `parts`-th file only.

    The packages are read and not imported.

    Raises
    ------
    UsageError
        A package is not installed, or has no folder of sources.
    """
    for name in names:
        found = importlib.util.find_spec(name) if name.isidentifier() else None
        if found is None or not found.submodule_search_locations:
            raise UsageError(f"a package must be installed and have sources, got {name!r}: pip install {name}")
        folder = Path(found.submodule_search_locations[0])
        for path in list(_sources(folder))[part::parts]:
            yield from _of_file(path, folder.parent)


def _sources(folder: Path) -> Iterator[Path]:
    """The modules below a folder in the order of paths, without excluded folders."""
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if entry.name in _OTHERS:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _sources(folder / entry.name)
        elif entry.name.endswith(".py"):
            yield folder / entry.name


def _of_file(path: Path, root: Path) -> Iterator[Document]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    yield from _documents(tree, name)


def _documents(node: _Documented, name: str) -> Iterator[Document]:
    """The documentation strings of a module, class or function and of everything inside it."""
    if text := ast.get_docstring(node):
        yield Document(name, text)
    for member in node.body:
        if isinstance(member, _Documented):
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
