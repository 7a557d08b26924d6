"""Results as rich tables, in the columns that users of nccl-tests and of the OSU benchmarks know."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emulator.units import format_size, format_time

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_WIDE = 118  # columns of a terminal that has room for everything


def microseconds(seconds: float | None) -> str:
    """A time as a plain number of microseconds with three to four figures."""
    if seconds is None:
        return "-"
    us = seconds * 1e6
    return f"{us:.3f}" if us < 10 else f"{us:.2f}" if us < 100 else f"{us:,.1f}" if us < 1000 else f"{us:,.0f}"


def percent(share: float | None, signed: bool = False) -> str:
    """A share in percent with two figures."""
    if share is None:
        return "-"
    digits = 1 if abs(share) < 0.1 else 0
    sign = "+" if signed and abs(share) >= 0.0005 else ""
    return f"{share * 100:{sign}.{digits}f} %".replace("-0.0", "0.0")


def number(value: float | None, digits: int = 3) -> str:
    """A plain number with some significant figures."""
    return "-" if value is None else f"{value:.{digits}g}"


def interval(pair: Sequence[float] | None, factor: float = 1e6) -> str:
    """An interval, in microseconds unless told otherwise."""
    return "-" if pair is None else f"[{_figure(pair[0] * factor)}, {_figure(pair[1] * factor)}]"


def _figure(value: float) -> str:
    """Four significant figures, and never an exponent for what people write without one."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _table(columns: Sequence[str], left: int = 1) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    return table


def titled(title: str, table: "Table") -> "Group":
    """A table under its title, which may be wider than the table."""
    from rich.console import Group

    return Group(f"[bold]{title}[/]", table)


def measurements(rows: Sequence[Mapping[str, Any]], title: str, width: int = 150) -> "Group":
    """Make a table of measurements of one pattern on one number of ranks: one line per size.

    Parameters
    ----------
    rows
        Measurements as in the result file.
    width
        Columns of the terminal; a narrow one gets no interval, p99 and algbw.
    """
    wide = width >= _WIDE
    native = any(row.get("native") for row in rows)
    seen = any(row.get("held_out") is False for row in rows)
    columns = {
        "bytes": lambda row: format_size(row["bytes"]),
        "algorithm": lambda row: row.get("algorithm") or "-",
        "time us": lambda row: microseconds(row["seconds"]["median"]),
        "95 % interval": lambda row: interval(row["seconds"]["ci95"]),
        "p99": lambda row: microseconds(row["seconds"]["p99"]),
        "algbw GB/s": lambda row: _gigabytes(row.get("algbw")),
        "busbw GB/s": lambda row: _gigabytes(row.get("busbw")),
        "native us": lambda row: microseconds((row.get("native") or {}).get("median")),
        "ratio": _ratio,
        # What a fit says of the points it was fitted to is no prediction.
        "fitted us" if seen else "predicted us": lambda row: microseconds(row.get("predicted")),
        "fit error" if seen else "error": lambda row: percent(_error(row), signed=True),
        "#wrong": _wrong,
        "n": lambda row: str(row["seconds"]["n"]),
    }
    for name in () if wide else ("95 % interval", "p99", "algbw GB/s"):
        del columns[name]
    if not native:
        del columns["native us"], columns["ratio"]
    if not any(row.get("algorithm") for row in rows):
        del columns["algorithm"]
    table = _table(list(columns), left=0)
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()))
    return titled(title, table)


def comparison(rows: Sequence[Mapping[str, Any]], title: str) -> "Group":
    """Make a table of several patterns on the same ranks: a column for each, and the quickest of them."""
    patterns = list(dict.fromkeys(row["pattern"] for row in rows))
    native = any(row.get("native") for row in rows)
    wrong = any(row.get("wrong") is not None for row in rows)
    columns = ["bytes", *patterns, *["native", "best/native"] * native, "quickest", *["#wrong"] * wrong]
    table = _table(columns, left=0)
    for size in dict.fromkeys(row["bytes"] for row in rows):
        these = {row["pattern"]: row for row in rows if row["bytes"] == size}
        best = min(these.values(), key=lambda row: row["seconds"]["median"])
        cells = [microseconds(these[name]["seconds"]["median"]) if name in these else "-" for name in patterns]
        if native:
            cells += [microseconds((best.get("native") or {}).get("median")), _ratio(best)]
        cells.append(best["pattern"])
        if wrong:
            cells.append(_wrong({"wrong": sum(row.get("wrong") or 0 for row in these.values())}))
        table.add_row(format_size(size), *cells)
    return titled(title, table)


def _gigabytes(rate: float | None) -> str:
    return "-" if rate is None else f"{rate / 1e9:.3g}" if rate >= 1e7 else f"{rate / 1e9:.4f}"


def _ratio(row: Mapping[str, Any]) -> str:
    native = row.get("native")
    return f"{row['seconds']['median'] / native['median']:.2f}" if native else "-"


def _error(row: Mapping[str, Any]) -> float | None:
    return None if row.get("predicted") is None else row["predicted"] / row["seconds"]["median"] - 1


def _wrong(row: Mapping[str, Any]) -> str:
    wrong = row.get("wrong")
    return "-" if wrong is None else "0" if wrong == 0 else f"[bold red]{wrong}[/]"


def fits(rows: Sequence[Mapping[str, Any]], title: str = "Fitted terms") -> "Group":
    """Make a table of fits: one line for the headline of each, and one for each of its segments."""
    claimed = any((row.get("alpha") or {}).get("ci95") for row in rows)
    title += ", with 95 % intervals" if claimed else ", without intervals: too few repetitions or points"
    names = ["alpha us", "beta ns/B"] + ["gamma ns/B"] * any(row.get("gamma") for row in rows)
    table = _table(["fit", *(cell for name in names for cell in (name, "")), "bandwidth", "median error"])
    for row in rows:
        error = percent(row.get("median_relative_error"))
        table.add_row(row["pattern"], *_terms(row, names), error)
        if len(row["segments"]) > 1:
            for segment in row["segments"]:
                sizes = f"  {format_size(segment['first'])} to {format_size(segment['last'])}"
                table.add_row(sizes, *_terms(segment, names), "", style="dim")
            blank = [""] * (2 * len(names) + 1)
            table.add_row("  in segments", *blank, percent(row.get("segmented_relative_error")), style="dim")
    return titled(title, table)


def _terms(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    cells = []
    for name in names:
        term, unit = name.split()
        factor, one = (1e6 if unit == "us" else 1e9), row.get(term)
        cells += ["-", ""] if one is None else [_figure(one["value"] * factor), interval(one["ci95"], factor)]
    beta = row["beta"]["value"] if row.get("beta") else 0
    return [*cells, f"{1 / beta / 1e9:.3g} GB/s" if beta > 0 else "-"]


def held_out(rows: Sequence[Mapping[str, Any]]) -> "Table":
    """Make a table of points that a fit has not seen."""
    table = _table(["ranks", "bytes", "measured us", "predicted us", "error"], left=0)
    for row in rows:
        table.add_row(
            str(row["ranks"]),
            format_size(row["bytes"]),
            microseconds(row["measured"]),
            microseconds(row["predicted"]),
            percent(row["relative_error"], signed=True),
        )
    return table


def checks(rows: Sequence[Mapping[str, Any]], title: str) -> "Group":
    """Make a table of configured beside recovered values.

    Parameters
    ----------
    rows
        ``{"what", "term", "configured", "recovered", "unit", "passed"}``; values in the unit named.
    """
    table = _table(["what", "term", "configured", "recovered", "off by", ""], left=2)
    for row in rows:
        configured, recovered = row["configured"], row["recovered"]
        off = recovered / configured - 1 if configured else float(recovered != configured)
        verdict = "[green]PASS[/]" if row["passed"] else "[bold red]FAIL[/]"
        cells = (f"{configured:.6g} {row['unit']}", f"{recovered:.6g} {row['unit']}", _off(off))
        table.add_row(row["what"], row["term"], *cells, verdict)
    return titled(title, table)


def _off(share: float) -> str:
    return f"{share * 100:+.3f} %" if abs(share) >= 5e-6 else "0.000 %"


def pair_map(values: Sequence[Sequence[float | None]], title: str, labels: Sequence[str] | None = None) -> "Group":
    """Draw a p x p map of times: sources down, destinations across, the darker the slower.

    Parameters
    ----------
    values : shape (p, p)
        Seconds from the row's rank to the column's; None where nothing was measured.
    labels
        Names of the ranks; absent, their numbers.
    """
    names = labels or [str(i) for i in range(len(values))]
    known = [value for row in values for value in row if value is not None]
    table = _table(["", *names])
    for name, row in zip(names, values, strict=True):
        table.add_row(name, *(_shade(value, min(known), max(known)) if value is not None else "." for value in row))
    return titled(title, table)


def _shade(value: float, low: float, high: float) -> str:
    """A time without its unit's space, on a background between green (quick) and red (slow)."""
    text = format_time(value).replace(" ", "")
    share = (value - low) / (high - low) if high > 1.05 * low else 0.0
    colours = ("green", "chartreuse4", "yellow4", "dark_orange3", "red3")
    return f"[{colours[min(4, int(share * 5))]}]{text}[/]"
