"""``python -m scripts.docs [DOCUMENT]...``: run the documents' commands and write their output below them."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click

from emulator.run.one_line import OneLineCommand
from scripts.docs import agree
from scripts.docs.blocks import ROOT, Block, Document, Step, documents, read
from scripts.docs.running import play


@click.command(cls=OneLineCommand)
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[DOCUMENT]...")
@click.option("--quick", is_flag=True, help="Leave blocks marked slow as they are.")
@click.option("--timed", is_flag=True, help="Renew measured figures too where all else agrees: on an idle machine.")
@click.option("--dry-run", is_flag=True, help="Say what differs, write nothing.")
def main(paths: tuple[Path, ...], quick: bool, timed: bool, dry_run: bool) -> None:
    """Renew the outputs in the documents, all or those given."""
    skipped = {"shown", "slow"} if quick else {"shown"}
    troubles = [_renew(read(path.resolve()), skipped, timed=timed, write=not dry_run) for path in paths or documents()]
    sys.exit(1 if any(troubles) else 0)


def _renew(document: Document, skipped: set[str], *, timed: bool, write: bool) -> int:
    """Renew one document; returns how many of its commands need an editor."""
    troubles = 0
    replaced: list[tuple[int, int, list[str]]] = []

    def chosen(block: Block, step: Step) -> str | None:
        return None if skipped & set(block.words) else step.command

    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        began = time.monotonic()
        for block, step, status, output in play(document, Path(folder) / "work", chosen):
            took, began = time.monotonic() - began, time.monotonic()
            print(f"{document.name}:{step.first}: {took:.1f} s, status {status}: {step.command}", flush=True)
            printed = agree.lines_of(output)
            change = agree.differs(step.output, printed, timed="timed" in block.words)
            try:
                new = agree.renewed(step.output, printed) if change or timed else step.output
            except ValueError as error:
                troubles += 1
                print(f"  EDIT BY HAND: {error}\n" + "\n".join("  | " + line for line in printed))
                continue
            if change:
                print("\n".join("  " + line for line in change.splitlines()))
            replaced.append((step.first, step.first + len(step.output), new))
    lines = list(document.lines)
    for first, end, new in reversed(replaced):
        lines[first:end] = new
    if write and lines != document.lines:
        document.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"renewed: {document.path.relative_to(ROOT)}")
    return troubles


if __name__ == "__main__":
    main()
