"""What a demo adds to its result of its own, as tables: any field that is a list of records, a record, or a figure."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from emulator.report.tables import titled
from emulator.units import format_time

if TYPE_CHECKING:
    from rich.console import Group

_MOST_ROWS = 40
_LONGEST_CELL = 40


def parts(result: Mapping[str, Any], told: Sequence[str]) -> Iterator[Any]:
    """Give strings and rich tables.

    Parameters
    ----------
    result
        The result file's content.
    told
        Fields that are printed elsewhere.
    """
    for name, value in result.items():
        if name not in told and value not in (None, [], {}):
            yield from _shown(name.replace("_", " "), value)


def _shown(heading: str, value: Any) -> Iterator[Any]:
    """One field under its heading; what it has of lists of records follows in tables of their own."""
    if _are_records(value):
        yield from (_table([_flat(one) for one in value], heading), "")
    elif isinstance(value, Mapping) and value and all(isinstance(one, Mapping) for one in value.values()):
        yield from (_table([{"": name} | _flat(one) for name, one in value.items()], heading), "")
    elif isinstance(value, Mapping):
        lists = {name: one for name, one in value.items() if _are_records(one)}
        figures = _flat({name: one for name, one in value.items() if name not in lists})
        yield from (_table([{"": name.replace("_", " "), " ": text} for name, text in figures.items()], heading), "")
        for name, one in lists.items():
            yield from _shown(f"{heading}: {name.replace('_', ' ')}", one)
    else:
        yield from (f"[bold]{heading}[/]: {_cell(heading, value)}", "")


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    """Cells by their column: of records in a record the fields, of a list of records the means."""
    cells: dict[str, str] = {}
    for name, value in record.items():
        if _are_records(value):
            cells |= {name: f"mean of {len(value)}"} | _means(value)
        elif isinstance(value, Mapping):
            cells |= {f"{name} {column}": text for column, text in _flat(value).items()}
        else:
            cells[name] = _cell(name, value)
    return cells


def _means(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    means = {}
    for name in dict.fromkeys(name for one in records for name in one):
        known = [one[name] for one in records if isinstance(one.get(name), int | float)]
        if known:
            means[name] = _cell(name, mean(known))
    return means


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        text = str(value)
    elif isinstance(value, int):
        text = f"{value:,}"
    elif isinstance(value, float):
        text = format_time(value) if name.endswith(("seconds", "_s")) else f"{value:.4g}"
    elif isinstance(value, list):
        text = ", ".join(_cell(name, one) for one in value)
        text = f"{len(value)} values" if len(text) > _LONGEST_CELL else text or "none"
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 3] + "..."


def _table(rows: Sequence[Mapping[str, str]], title: str) -> "Group":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for column in columns:
        table.add_column(column.replace("_", " "), justify="left" if not column.strip() else "right")
    for row in rows[:_MOST_ROWS]:
        table.add_row(*(row.get(column, "") for column in columns))
    if len(rows) > _MOST_ROWS:
        table.add_row(f"{len(rows) - _MOST_ROWS} more in the file", style="dim")
    return titled(title, table)
