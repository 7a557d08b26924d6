"""Data sets of scikit-learn, read without the library, whose import takes a second of CPU time."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError

Array = NDArray[np.float64]


def digits() -> Array:
    """Load handwritten digits: 1797 rows of 64 pixels from 0 to 16, and the digit."""
    return _read("digits.csv.gz", header=0)


def breast_cancer() -> Array:
    """Load tumours: 569 rows of 30 columns, and 0 for malignant, 1 for benign."""
    return _read("breast_cancer.csv", header=1)


@cache
def _read(name: str, header: int) -> Array:
    """Read the numbers of a file below its header lines, as a read-only array.

    Raises
    ------
    UsageError
        scikit-learn is not installed, or without its data.
    """
    found = importlib.util.find_spec("sklearn")
    folders = found.submodule_search_locations if found is not None else None
    files = [file for folder in folders or () if (file := Path(folder) / "datasets" / "data" / name).exists()]
    if not files:
        raise UsageError(f"{name} comes with scikit-learn, which is not installed whole: "
                         "pip install --force-reinstall scikit-learn")  # fmt: skip
    rows = np.loadtxt(files[0], delimiter=",", skiprows=header)
    rows.flags.writeable = False
    return rows
