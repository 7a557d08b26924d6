import sys
from pathlib import Path

import pytest

from emulator.errors import UsageError
from emulator.launch import mca_parameters


@pytest.fixture
def etc(tmp_path, monkeypatch):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "prte-mca-params.conf").write_text("# a comment\n")
    (folder / "openmpi-mca-params.conf").write_text("pml = ucx\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return folder


def test_adds_what_is_missing_once_and_keeps_the_users_choice(etc):
    assert not mca_parameters.is_tuned()
    assert len(mca_parameters.tune()) == 2
    text = (etc / "openmpi-mca-params.conf").read_text()
    assert "pml = ucx" in text
    assert "pml = ob1" not in text
    assert "btl = self,sm,tcp" in text
    assert mca_parameters.is_tuned()
    assert mca_parameters.tune() == []


def test_an_mpi_elsewhere_is_never_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert mca_parameters.tune() == []
    assert not mca_parameters.is_tuned()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "openmpi-mca-params.conf").write_text("# of Open MPI 4, which has no other file\n")
    assert mca_parameters.tune() == []


def test_a_file_that_cannot_be_written_is_one_line(etc, monkeypatch):
    real = Path.open

    def refuse(self, mode="r", *rest, **options):
        if "a" in mode:
            raise PermissionError(13, "Permission denied")
        return real(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match="Permission denied"):
        mca_parameters.tune()
