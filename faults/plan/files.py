"""Read plan files: `faults = ["kill 3 @ step 20", ...]` and `seed = 7` in TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from emulator.errors import UsageError
from faults.plan.grammar import parse
from faults.plan.model import Fault


def read_lines(lines: Iterable[str]) -> tuple[list[Fault], int | None]:
    """Read faults and seed from command-line words: fault lines, or names of plan files (``.toml``).

    The seed is that of the last plan file that has one.
    """
    faults: list[Fault] = []
    seed: int | None = None
    for line in lines:
        if line.strip().endswith(".toml"):
            more, own = load(line)
            faults += more
            seed = own if own is not None else seed
        else:
            faults.append(parse(line))
    return faults, seed


def load(path: str | Path) -> tuple[list[Fault], int | None]:
    """Read faults and seed of a plan file.

    Raises
    ------
    UsageError
        The file cannot be read, is not TOML, has an unknown key, or a fault line does not parse: the message
        gives the file, the line and the column.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read the plan {path}: {error.strerror}; name a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the plan {path} is not TOML: {error}") from None
    for key in content:
        if key not in ("faults", "seed"):
            raise UsageError(f"{path}, line {_line_of(text, key)}: a plan has the keys faults and seed, got {key!r}")
    lines, seed = content.get("faults", []), content.get("seed")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise UsageError(
            f'{path}, line {_line_of(text, "faults")}: faults is a list of lines, e.g. faults = ["kill 3 @ step 20"]'
        )
    if seed is not None and not isinstance(seed, int):
        raise UsageError(f"{path}, line {_line_of(text, 'seed')}: seed is a whole number, got {seed!r}")
    faults = []
    for line in lines:
        try:
            faults.append(parse(line))
        except UsageError as error:
            raise UsageError(f"{path}, line {_line_of(text, line)}: {error}") from None
    return faults, seed


def _line_of(text: str, needle: str) -> int:
    """Number of the line of the file that holds `needle`, from 1 (1 if it is written with escapes)."""
    return next((i for i, line in enumerate(text.splitlines(), 1) if needle in line), 1)
