"""Run the benches, print one table each row by row, and write all rows as JSON."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

import bench
from emulator.errors import UsageError
from emulator.results import environment
from emulator.run.one_line import OneLineCommand

FOLDER = Path(__file__).resolve().parent / "results"


def names() -> list[str]:
    """The benches there are."""
    return sorted(m.name for m in pkgutil.iter_modules(bench.__path__) if not m.name.startswith("_"))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, int | float) else str(value)


_WIDTHS = {"what": -72, "ours": 9, "other": 9, "unit": -6, "ratio": 8, "target": -17}


def _line(cells: Iterable[str]) -> str:
    """One line of the table: benches take their time, so each row is shown as soon as it is there."""
    padded = [
        f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
        for cell, width in zip(cells, _WIDTHS.values(), strict=True)
    ]
    return " ".join(padded)


def _show(row: dict[str, Any]) -> str:
    """A row as a line, with its verdict."""
    mark = {True: "[green]met[/]", False: "[red]not met[/]", None: ""}[row.get("met")]
    numbers = [_number(row.get(key)) for key in ("ours", "other", "unit", "ratio", "target")]
    return f"{_line([row['name'], *numbers])} {mark}"


@click.command(cls=OneLineCommand)
@click.argument("which", nargs=-1, metavar="[NAME]...")
@click.option("--budget", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Seconds for each bench.")
@click.option("--json", "path", type=click.Path(), help="Where the rows go; absent: bench/results/<UTC time>.json.")
def main(which: tuple[str, ...], budget: float, path: str | None) -> None:
    """Measure the speed claims and print each beside its target."""
    from rich.console import Console

    if unknown := sorted(set(which) - set(names())):
        raise UsageError(f"a bench is one of {', '.join(names())}, got {unknown[0]!r}")
    console = Console(width=140, highlight=False)
    record: dict[str, Any] = {"started": datetime.now(UTC).isoformat(), "environment": environment.record(), "rows": {}}
    target = Path(path) if path else FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    for name in which or names():
        console.print(f"[italic]{name}[/]\n[bold]{_line(_WIDTHS)}[/]")
        record["rows"][name] = rows = []
        for row in importlib.import_module(f"bench.{name}").rows(budget):
            rows.append(row)
            console.print(_show(row), soft_wrap=True)
            target.write_text(json.dumps(record, indent=1))
    console.print(f"[dim]rows: {target}[/]")


if __name__ == "__main__":
    main()
