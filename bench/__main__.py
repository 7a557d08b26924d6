"""Run the benches, print one table each, and write all rows as JSON."""

from __future__ import annotations

import importlib
import json
import pkgutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

import bench
from emulator import environment
from emulator.cli import OneLineCommand
from emulator.errors import UsageError

FOLDER = Path(__file__).resolve().parent / "results"


def names() -> list[str]:
    """The benches there are."""
    return sorted(m.name for m in pkgutil.iter_modules(bench.__path__) if not m.name.startswith("_"))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, int | float) else str(value)


def _table(name: str, rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(title=name, title_justify="left", box=None, pad_edge=False)
    for column in ("what", "ours", "other", "unit", "ratio", "target", ""):
        table.add_column(column, justify="right" if column in ("ours", "other", "ratio") else "left")
    marks = {True: "[green]met[/]", False: "[red]not met[/]", None: ""}
    for row in rows:
        cells = [_number(row.get(key)) for key in ("ours", "other", "unit", "ratio", "target")]
        table.add_row(row["name"], *cells, marks[row.get("met")])
    return table


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
        record["rows"][name] = rows = importlib.import_module(f"bench.{name}").rows(budget)
        console.print(_table(name, rows))
        target.write_text(json.dumps(record, indent=1))
    console.print(f"[dim]rows: {target}[/]")


if __name__ == "__main__":
    main()
