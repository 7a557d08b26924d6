"""CONTRIBUTING.md: its map is the tree, and its glossary fits a page."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_TERMS = 25


def rows(section):
    """The cells of the tables of a section, without their heads."""
    text = (ROOT / "CONTRIBUTING.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    table = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in table[2:]]


def rooms():
    """The files and folders of the map; a name without a slash stands beside the one before it."""
    for first, _ in rows("The house"):
        parent = Path()
        for name in re.findall(r"`([^`]+)`", first):
            path = Path(name) if "/" in name or parent == Path() else parent / name
            parent = path.parent
            yield path


def test_every_place_that_is_named_is_there():
    named = [path for _, place in rows("Where is ...?") for path in re.findall(r"`([\w./]+/[\w./]+)`", place)]
    assert len(named) > 20
    assert [name for name in named if not list(ROOT.glob(name.replace("NAME", "*")))] == []
    assert [str(path) for path in rooms() if not (ROOT / path).exists()] == []


def test_every_folder_of_the_emulator_and_of_faults_is_on_the_map():
    folders = {path.parent.relative_to(ROOT) for top in ("emulator", "faults") for path in ROOT.glob(f"{top}/*/*.py")}
    assert folders - set(rooms()) == set()


def test_the_glossary_is_short():
    assert 15 < len(rows("Glossary")) <= MOST_TERMS
