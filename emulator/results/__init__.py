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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from emulator.errors import CannotWrite, UsageError, write_all
from emulator.results import environment
from emulator.results.files import check_writable, discard, point_latest, replacing, run_folder

__all__ = [
    "RESULT", "SAMPLES", "check_writable", "discard", "keep", "load", "load_samples", "new", "of_this_version", "plain",
    "replacing", "run_folder", "save", "save_samples", "write_json",
]  # fmt: skip

RESULT, SAMPLES = "result.json", "samples.csv"


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
    """Begin a result with everything that is known before the first measurement.

    Parameters
    ----------
    demo, command : name of the demo and the command line that ran it
    ranks, hosts : size of the job and the host name of each rank (absent: all on this one)
    network : the emulated network as configured; None on the bare transport
    clock : ``"wall"``, ``"emulated"`` or ``"simulated"``
    pace : wall seconds per emulated second; None on the bare transport and where nothing is held back
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


def save(result: Mapping[str, Any], path: str | Path) -> Path:
    """Write a result as JSON, atomically: a reader sees the old file or the new one.

    numpy numbers and arrays become plain ones; numbers that are not finite become null.

    Raises
    ------
    CannotWrite
        The file cannot be written.
    ValueError
        The result does not follow the schema. The file is there all the same: nothing measured is lost.
    """
    path, content = Path(path), plain(result)
    write_json(content, path)
    if path.name == RESULT:
        point_latest(path.parent)
    complaint = _complaint(content)
    if complaint:
        raise ValueError(f"{path} does not follow schema 1: {complaint}")
    return path


def write_json(content: Any, path: str | Path) -> None:
    """Write numbers, texts, lists and dicts as JSON, atomically; raises `CannotWrite`."""
    with replacing(Path(path)) as waiting:
        waiting.write_text(json.dumps(plain(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def keep(
    result: Mapping[str, Any], *paths: str | Path | None, samples: Sequence[Mapping[str, Any]] = ()
) -> CannotWrite | None:
    """Write a result to each of these files, and its samples beside the first, before the measurements are printed.

    Returns
    -------
    The error to raise when everything has been printed; None if all was written.
    """
    writes = [partial(save, result, path) for path in paths if path]
    if samples and paths[0]:
        writes.append(partial(save_samples, Path(paths[0]).parent, samples))
    return write_all(*writes)


def load(path: str | Path) -> dict[str, Any]:
    """Read and validate a result.

    Parameters
    ----------
    path : a `result.json`, or the folder that holds it (``runs/ring/latest``)

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
    """One line on what is wrong with a result; None if it is valid."""
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
    """Write raw samples beside the result, one row each, for later statistics.

    Parameters
    ----------
    folder : the run folder; the file is ``samples.csv``
    rows : mappings such as ``{"pattern": "ring", "ranks": 4, "bytes": 8, "repetition": 0, "seconds": 1.2e-6}``. Columns
        are all keys, in order of first appearance.

    Raises
    ------
    CannotWrite
        The file cannot be written.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    path = Path(folder) / SAMPLES
    with replacing(path) as waiting, waiting.open("w", newline="", encoding="utf-8") as file:
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
    """Convert numpy values, paths, tuples and non-finite numbers to what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


@contextlib.contextmanager
def of_this_version(*runs: Path) -> Iterator[None]:
    """Turn an error in a command's own fields into one line, because the schema covers only shared fields."""
    try:
        yield
    except UsageError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        named = " or ".join(map(str, runs))
        raise UsageError(
            f"a result is read by the version that wrote it, {named} has a field of another kind "
            f"({type(error).__name__}: {error}): run its command again"
        ) from None
