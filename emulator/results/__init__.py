"""The run folder and the result file: `result.json` (schema 1), `samples.csv`, the `latest` link.

Times in seconds, sizes in bytes, beta and gamma in seconds per byte. `emulator.results.schema` has the fields.

    >>> result = new("ring", ["python", "-m", "demos.ring"], ranks=16)
    >>> folder = run_folder("ring")
    >>> save(result, folder / "result.json")
    >>> load(folder)["environment"]["ranks"]
    16
"""

import contextlib
import csv
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emulator.errors import UsageError
from emulator.run import environment

RESULT, SAMPLES = "result.json", "samples.csv"

_STAMP = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
"""Name of a run's folder that was not chosen by the user, and beside which `latest` stands."""


def new(
    demo: str,
    command: Sequence[str],
    *,
    ranks: int = 1,
    hosts: Sequence[str] | None = None,
    network: Mapping[str, Any] | None = None,
    clock: str = "wall",
    pace: float | str | None = None,
) -> dict[str, Any]:
    """Begin a result: everything known before the first measurement.

    Parameters
    ----------
    demo, command
        Name of the demo and the command line that ran it.
    ranks, hosts
        Size of the job and the host name of each rank (absent: all on this one).
    network
        The emulated network as configured; None on the bare transport.
    clock
        ``"wall"``, ``"emulated"`` or ``"simulated"``.
    pace
        Wall seconds per emulated second; None on the bare transport and where nothing is held back.
    """
    return {
        "schema": 1,
        "demo": demo,
        "command": list(command),
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "environment": environment.record(ranks, hosts),
        "network": None if network is None else dict(network),
        "clock": clock,
        "pace": pace,
        "fidelity": None,
        "measurements": [],
        "fits": [],
        "held_out": [],
        "drill": None,
    }


def run_folder(demo: str, out: str | Path | None = None, root: str | Path = "runs") -> Path:
    """Make the folder of a run; `save` points `latest` at it, once it has a result.

    Parameters
    ----------
    demo
        Name of the demo.
    out
        The folder that the user chose. Absent: ``root/demo/<UTC time>``, with the link ``root/demo/latest``.

    Raises
    ------
    UsageError
        The folder cannot be made or written.
    """
    try:
        if out is not None:
            folder = Path(out)
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = _fresh(Path(root) / demo, datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
        # A folder can exist and yet refuse files: learn that before the measurements, not after.
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        where = out if out is not None else Path(root) / demo
        raise UsageError(
            f"cannot write the run folder {where}: {error.strerror or error}; choose another with --out DIR"
        ) from None
    return folder


def check_writable(path: str | Path | None, option: str = "--json") -> None:
    """Learn before the measurements, not after, that a file cannot be written; nothing is left where none was.

    Parameters
    ----------
    path
        The file that an option names; None if it names none.
    option
        What the error calls it.

    Raises
    ------
    UsageError
        It cannot be written.
    """
    if path is None:
        return
    path = Path(path)
    if path.exists() and not path.is_file():  # a device, say, whose place the result would take
        raise UsageError(f"{option} takes the name of a file, {path} is something else: choose another")
    try:
        was_there = path.exists()
        path.open("a").close()
        if not was_there:
            path.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot write {path}: {reason}; {option} takes a file in a folder that exists and can be written"
        ) from None


def discard(folder: Path) -> None:
    """Remove the folder of a run that was refused, if there is nothing in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _fresh(parent: Path, stamp: str) -> Path:
    """Make a folder that no run has had: two runs may begin in the same second."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _point(link: Path, target: str) -> None:
    """Replace a symbolic link in one step, so that a reader never finds it missing."""
    waiting = link.with_name(f".latest-{os.getpid()}")
    try:
        waiting.symlink_to(target)
        waiting.replace(link)
    except OSError:
        # File systems without links, or something of the user's at that name: the run itself is not affected.
        waiting.unlink(missing_ok=True)


def save(result: Mapping[str, Any], path: str | Path) -> Path:
    """Write a result as JSON, in one step (a reader sees the old file or the new one).

    numpy numbers and arrays become plain ones; numbers that are not finite become null.

    Raises
    ------
    UsageError
        The file cannot be written.
    ValueError
        The result does not follow the schema. The file is there all the same: nothing measured is lost.
    """
    path = Path(path)
    content = plain(result)
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        waiting.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        waiting.replace(path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}; choose a file in a folder that exists"
        ) from None
    if path.name == RESULT and _STAMP.fullmatch(path.parent.name):
        _point(path.parent.parent / "latest", path.parent.name)
    complaint = _complaint(content)
    if complaint:
        raise ValueError(f"{path} does not follow schema 1: {complaint}")
    return path


def load(path: str | Path) -> dict[str, Any]:
    """Read and validate a result.

    Parameters
    ----------
    path
        A `result.json`, or the folder that holds it (``runs/ring/latest``).

    Returns
    -------
    dict
        The file's content as written, with absent optional fields filled in.

    Raises
    ------
    UsageError
        No such file, not JSON, another schema, or a field that is missing or wrong: one line that says which.
    """
    from emulator.results.schema import Result

    path = Path(path)
    if path.is_dir():
        path = path / RESULT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}; name a result.json or a run folder") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON; name a result.json that a demo or a drill wrote") from None
    complaint = _complaint(content)
    if complaint:
        raise UsageError(f"{path} is not a result file of schema 1: {complaint}")
    return Result.model_validate(content).model_dump(mode="json", by_alias=True)


def _complaint(content: Any) -> str | None:
    """Say in one line what is wrong with a would-be result; None if nothing is."""
    from pydantic import ValidationError

    from emulator.results.schema import SCHEMA, Result

    if not isinstance(content, dict) or "schema" not in content:
        return 'there is no field "schema"'
    if content["schema"] != SCHEMA:
        return f"it says schema {str(content['schema'])[:40]!r}"
    try:
        Result.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        return f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}{more}"
    return None


def save_samples(folder: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write raw samples beside the result, one row each, so that anybody can redo the statistics.

    Parameters
    ----------
    folder
        The run folder; the file is ``samples.csv``.
    rows
        Mappings such as ``{"pattern": "ring", "ranks": 4, "bytes": 8, "repetition": 0, "seconds": 1.2e-6}``.
        Columns are all keys, in order of first appearance.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    path = Path(folder) / SAMPLES
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({key: plain(value) for key, value in row.items()} for row in rows)
    return path


def load_samples(folder: str | Path) -> list[dict[str, Any]]:
    """Read `samples.csv` of a run folder: numbers as numbers, absent values as None.

    Raises
    ------
    UsageError
        There is no such file in the folder, or it is not text.
    """
    path = Path(folder) / SAMPLES
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{key: _number(text) for key, text in row.items()} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _number(text: str | None) -> float | int | str | None:
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def plain(value: Any) -> Any:
    """Turn numpy values, paths, tuples and numbers that are not finite into what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
