"""One rank's part of a checkpoint: a file with checksums, so that an incomplete or altered one is detected.

    8 bytes magic | 8 bytes length of the header | header (JSON) | 4 bytes CRC-32 of the header | the slices' bytes

The header names the job, the step, the part and, for each array, which slice of it follows and its CRC-32. A part is
written beside its name, forced to the disk and then renamed: a reader finds the old file or the new one.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_MAGIC = b"EMUCKPT1"
_LENGTH, _CHECK = struct.Struct("<Q"), struct.Struct("<I")
_LONGEST_HEADER = 1 << 20


class Damaged(ValueError):
    """A part of a checkpoint is truncated, altered, or of another job."""


@dataclass(frozen=True)
class Slice:
    """Elements `start` to `start + values.size` of a flat array of `total` elements; `shape` is the whole array's."""

    values: np.ndarray
    start: int
    total: int
    shape: tuple[int, ...] = ()


def even_slice(array: np.ndarray, part: int, parts: int) -> Slice:
    """The share of an array that rank `part` of `parts` writes where every rank holds the whole array."""
    start, stop = part * array.size // parts, (part + 1) * array.size // parts
    return Slice(array.reshape(-1)[start:stop], start, array.size, array.shape)


def write(path: Path, about: dict[str, Any], slices: dict[str, Slice], device: Path | None = None) -> None:
    """Write a part and make it durable.

    Parameters
    ----------
    about : what the header says beside the arrays: job, step, part, parts
    device : write to this instead (``/dev/full`` is a disk without room)

    Raises
    ------
    OSError
        The disk is full or refuses; nothing is left behind.
    """
    header = json.dumps(about | {"arrays": [_describe(name, piece) for name, piece in slices.items()]}).encode()
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(device or waiting, "wb") as file:
            file.write(_MAGIC + _LENGTH.pack(len(header)) + header + _CHECK.pack(zlib.crc32(header)))
            for piece in slices.values():
                file.write(np.ascontiguousarray(piece.values).data.cast("B"))
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(path)
    except OSError:
        waiting.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _describe(name: str, piece: Slice) -> dict[str, Any]:
    values = np.ascontiguousarray(piece.values)
    return {
        "name": name,
        "dtype": values.dtype.str,
        "start": piece.start,
        "count": values.size,
        "total": piece.total,
        "shape": piece.shape,
        "crc": zlib.crc32(values.data.cast("B")),
    }


def _sync_folder(folder: Path) -> None:
    """Flush the folder to disk, so that the new file name survives a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Slice]]:
    """Read a part and return its header and slices; every checksum is verified.

    Raises
    ------
    Damaged
        The file is missing, cut off or altered.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(path, file)
            slices = {entry["name"]: _read_slice(path, file, entry) for entry in header["arrays"]}
            if file.read(1):
                raise Damaged(f"{_name(path)} is longer than its header says")
    except OSError as error:
        raise Damaged(f"{_name(path)} cannot be read: {error.strerror}") from None
    return header, slices


def _read_header(path: Path, file: BinaryIO) -> dict[str, Any]:
    front = file.read(len(_MAGIC) + _LENGTH.size)
    if len(front) < len(_MAGIC) + _LENGTH.size or not front.startswith(_MAGIC):
        raise Damaged(f"{_name(path)} does not begin like a checkpoint")
    (length,) = _LENGTH.unpack(front[len(_MAGIC) :])
    if length > _LONGEST_HEADER:
        raise Damaged(f"{_name(path)} has an impossible header")
    text, check = file.read(length), file.read(_CHECK.size)
    if len(check) < _CHECK.size or zlib.crc32(text) != _CHECK.unpack(check)[0]:
        raise Damaged(f"{_name(path)} has a damaged header")
    return json.loads(text)


def _read_slice(path: Path, file: BinaryIO, entry: dict[str, Any]) -> Slice:
    dtype = np.dtype(entry["dtype"])
    content = file.read(entry["count"] * dtype.itemsize)
    if zlib.crc32(content) != entry["crc"] or len(content) != entry["count"] * dtype.itemsize:
        raise Damaged(f"{_name(path)} has a damaged array {entry['name']!r}")
    return Slice(np.frombuffer(content, dtype), entry["start"], entry["total"], tuple(entry["shape"]))


def _name(path: Path) -> str:
    """Name a part by step and number, without its folder, so that messages are the same on all machines."""
    return f"{path.parent.name}/{path.name}"
