"""Commands of documents that exist, and ones that no longer do."""

from __future__ import annotations

import pytest

from scripts.docs.blocks import Document, documents, read
from scripts.docs.commands import Stale, check, check_option, named


@pytest.mark.parametrize(
    "command",
    [
        "mpirun -n 16 python -m demos.ring [--algorithm all|auto]",
        "python -m faults drill|matrix|soak|alarms|trace",
        "python -m faults drill ring -n 8 --fault 'kill 3 @ step 20' --recovery shrink",
        "python -m demos.design VERB SHEET",
        "python -m demos.design new --example B > clicks.toml    # a comment",
        "mpirun -n 4 python -m emulator run --net wan -m mpi4py.bench pingpong --loop 20",
        "make demo test",
        "scripts/two-hosts 2 python -m demos.links",
    ],
)
def test_a_command_that_exists_is_accepted(command):
    check(command)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python -m demos.rings", "no such module"),
        ("mpirun -n 2 python -m demos.ring --nett wan", "No such option"),
        ("python -m demos.ring --pace", "requires an argument"),
        ("python -m faults drill|kick", "no command kick"),
        ("python -m demos.ring --net wan --compute lots", "'lots'"),
        ("python -m demos.design predict x.toml --sensitive", "No such option"),
        ("python -m demos.design new 'x", "quotation"),
        ("make tea", "no target tea"),
        ("scripts/one-host 2 python -m demos.links", "there is no"),
        ("python examples/recovery/lost.py", "there is no"),
    ],
)
def test_a_command_that_does_not_exist_is_named(command, said):
    with pytest.raises(Stale, match=said):
        check(command)


def test_an_option_is_one_of_some_command():
    check_option("--sensitivity")
    with pytest.raises(Stale, match="--sensitive"):
        check_option("--sensitive")


def test_commands_of_blocks_sentences_and_tables_are_found(tmp_path):
    path = tmp_path / "x.md"
    path.write_text(
        "Run `make\ndemo`.\n\n| `python -m faults drill\\|soak` | x |\n\n"
        "```console timed\n$ a \\\n  b\nx\n\n$ c > d\n```\n"
    )
    document = read(path)
    assert list(named(document)) == ["a \\\n  b", "c > d", "make demo", "python -m faults drill|soak"]
    assert [step.output for step in document.blocks[0].steps] == [["x"], []]
    assert [document.lines[step.first - 1] for step in document.blocks[0].steps] == ["  b", "$ c > d"]


def test_a_block_without_an_end_is_refused(tmp_path):
    path = tmp_path / "x.md"
    path.write_text("```console\n$ a\n")
    with pytest.raises(ValueError, match="has no end"):
        read(path)


def test_the_readme_and_the_docs_are_read():
    assert {path.name for path in documents()} >= {"README.md", "faults.md", "rag.md"}
    assert all(isinstance(read(path), Document) for path in documents())
