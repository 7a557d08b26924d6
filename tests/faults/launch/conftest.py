"""What the tests of programs of one's own share."""

from pathlib import Path

import pytest

from tests.faults.launch.own_programs import PROGRAM


@pytest.fixture
def program(tmp_path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path
