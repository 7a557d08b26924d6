"""The data sets that come with scikit-learn."""

import subprocess
import sys

import numpy as np
import pytest

from emulator import datasets
from emulator.errors import UsageError


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_rows_are_those_that_the_library_gives(name: str) -> None:
    from sklearn import datasets as of_the_library  # takes 3 s, and each worker collects this file

    rows, given = getattr(datasets, name)(), getattr(of_the_library, f"load_{name}")()
    assert np.array_equal(rows[:, :-1], given.data)
    assert np.array_equal(rows[:, -1], given.target)


def test_reading_does_not_import_the_library() -> None:
    code = "import sys; from emulator import datasets; datasets.digits(); sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets._read.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"breast_cancer.csv comes with scikit-learn, .*: pip install") as error:
        datasets.breast_cancer()
    assert "\n" not in str(error.value)
