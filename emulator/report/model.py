"""The items of a report as plain data: tables, lines of text, verdicts, maps and series.

A view (`emulator.report.views`) makes a list of these from a saved result; a renderer (`emulator.report.terminal`,
`emulator.report.page`) shows them. Values stay raw: seconds, bytes, shares. How one is written is said by its column.

A *tone* says what a value or a line means, and each renderer chooses how that looks: ``"good"``, ``"bad"``,
``"warning"``, ``"dim"``, ``"head"``, ``"command"`` (a line to copy, which is never broken), ``""`` for nothing special.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator.report import formats

Row = Mapping[str, Any]


def grouped(records: Iterable[Row], key: str | Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Group records by the value of a key or a function, in the order of first occurrence."""
    groups: dict[Any, list[Row]] = {}
    for record in records:
        groups.setdefault(key(record) if callable(key) else record[key], []).append(record)
    return groups


def spread(count: int, most: int = 8) -> list[int]:
    """Pick at most `most` of the numbers 0 to `count` - 1, evenly, including the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(at * (count - 1) / (most - 1)) for at in range(most)]


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading (`name`, `unit`), where its values are, and their format."""

    name: str  # a line break stands for a new line of the heading
    of: str | Callable[[Any], Any] = ""  # a key of the record, keys joined by dots, or a function of it; absent: `name`
    form: Callable[[Any], str] = formats.plain
    unit: str = ""
    left: bool = False  # left-aligned; numbers stand at the right
    priority: int = 0  # a table that is too wide leaves out columns with the largest first, and those with 0 never
    tone: Callable[[Any], str] = lambda value: ""

    def __post_init__(self) -> None:
        if self.priority and not self.name:
            raise ValueError("a column that may be left out must have a name, got none: what is left out is named")

    @property
    def heading(self) -> str:
        return f"{self.name} {self.unit}".rstrip()

    def value(self, record: Any) -> Any:
        """The raw value of a record."""
        if callable(self.of):
            return self.of(record)
        for key in (self.of or self.name).split("."):
            record = None if record is None else record.get(key)
        return record


@dataclass(frozen=True)
class Table:
    """Rows of raw values under columns, with a title above and notes below.

    `tones` has a tone for each row, or is empty. `key` are the numbers of the rows that one screen shows; None: all.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    tones: Sequence[str] = ()
    key: Sequence[int] | None = None

    @classmethod
    def of(cls, title: str, columns: Sequence[Column], records: Iterable[Any], **more: Any) -> Table:
        """Make a table with a row for each record."""
        return cls(title, columns, [[column.value(record) for column in columns] for record in records], **more)


@dataclass(frozen=True)
class Text:
    """A line or a paragraph; its first words `lead` are emphasised."""

    text: str
    tone: str = ""
    lead: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check: ``text: PASS`` (or FAIL); with a `name`, a line of a list: ``ok name text``."""

    passed: bool
    text: str
    name: str = ""


@dataclass(frozen=True)
class Axis:
    """An axis of a plot; raw values are multiplied by `factor` to be in `unit`, or written with their own unit."""

    name: str
    unit: str = ""
    factor: float = 1.0
    log: bool = False
    binary: bool = False  # a logarithmic axis with its marks at powers of 2
    form: Callable[[float], str] | None = None  # writes a raw value with its unit

    @classmethod
    def time(cls, name: str, seconds: Iterable[float | None], **more: Any) -> Axis:
        """Make an axis of times in the unit in which the largest one is above 1."""
        most = max((value for value in seconds if value), default=0.0)
        units = (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9))
        unit, factor = next((one for one in units if most * one[1] >= 1), units[-1] if most else units[0])
        return cls(name, unit, factor, **more)

    @property
    def label(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit and self.form is None else self.name

    def write(self, value: float) -> str:
        """Format a raw value with four figures."""
        return self.form(value) if self.form else formats.figure(value * self.factor)


@dataclass(frozen=True)
class Map:
    """A value for each pair, such as the time from each rank (down) to each other (across); None for no value."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[Any]]
    corner: str = ""  # heading of the rows' names
    form: Callable[[Any], str] = formats.plain
    tone: Callable[[Any], str] = lambda value: ""  # of a value, where there is no scale
    # Where given, values are numbers, coloured from the least to the greatest, and drawn as a picture on this axis.
    scale: Axis | None = None

    @classmethod
    def pivot(cls, title: str, records: Sequence[Row], down: str, across: str, **more: Any) -> Map:
        """Make a map of records: a row for each value of one field, a column for each of another."""
        rows, columns = ([*dict.fromkeys(record[key] for record in records)] for key in (down, across))
        found = {(record[down], record[across]): record for record in records}
        values = [[found.get((row, column)) for column in columns] for row in rows]
        return cls(title, rows, columns, values, corner=down, **more)


@dataclass(frozen=True)
class Curve:
    """The points of one curve, as raw values."""

    name: str
    x: Sequence[Any]  # names where the style is "bars"
    y: Sequence[float]
    interval: Sequence[Sequence[float] | None] = ()  # low and high end of each y, or None for a point without
    style: str = "points"  # "points", "line", "joined" (points with a line), "dotted", "bars", "band" (intervals only)
    group: Any = None  # curves of one (measured, fitted and native times of one number of ranks) share a colour

    @classmethod
    def line(cls, name: str, records: Iterable[Any], x: Any, y: Any, group: Any = None) -> Curve:
        """Make a line through the values of records at two keys, or of rows at two indices."""
        points = [(record[x], record[y]) for record in records]
        return cls(name, [at for at, _ in points], [value for _, value in points], style="line", group=group)


@dataclass(frozen=True)
class Mark:
    """A marked position on the x axis: a line at `at`, or a shaded region from there to `to`."""

    at: float
    text: str
    to: float | None = None


@dataclass(frozen=True)
class Series:
    """Curves over common axes: a plot, which a terminal omits."""

    name: str  # unique in its view
    title: str
    x: Axis
    y: Axis
    curves: Sequence[Curve] = field(default=())
    marks: Sequence[Mark] = ()
    stacked: bool = False  # bars of several curves stand end to end instead of side by side
    about: str = ""  # how to read it, in a sentence


@dataclass(frozen=True)
class Scenario:
    """A speedup model whose terms a page's reader can change: ``emulator.speedup`` with a pattern's coefficients."""

    name: str
    form: str
    t_comp: float  # s
    alpha: float  # s
    beta: float  # s per byte; s where `bytes` is None
    gamma: float  # s per byte
    bytes: float | None  # None: beta is the time of the whole model
    pattern: str  # or, without bytes, "textbook" or "ring"
    draws: Sequence[Sequence[float]] = ()  # alpha, beta and gamma of resamples, for a band
    best: Row = field(default_factory=dict)
    dominated: Row | None = None


@dataclass(frozen=True)
class Drawing:
    """A picture as SVG; `about` describes it in a sentence."""

    title: str
    svg: str
    about: str = ""


@dataclass(frozen=True)
class Detail:
    """Items that do not fit on one screen: shown on a page, and on a terminal with ``--full``."""

    item: str | Text | Table | Verdict | Map


Item = str | Text | Table | Verdict | Map | Series | Scenario | Drawing | Detail
"""What a view is made of; a string stands for a line of text."""
