import os
from pathlib import Path

from emulator.errors import UsageError
from emulator.launch import doctor, mpirun, session_directory


def states(findings):
    return {finding.topic: finding.state for finding in findings}


def test_this_machine_can_start_16_ranks():
    found = {finding.topic: finding for finding in doctor.examine()}
    assert found["start"].state == "ok", found["start"]
    assert "16 ranks" in found["start"].text


def test_no_mpi_ends_the_examination_with_the_remedy(monkeypatch):
    def none():
        raise UsageError("a job needs mpirun, found none: install one")

    monkeypatch.setattr(mpirun, "find_mpi", none)
    *_, last = doctor.examine()
    assert (last.topic, last.state, last.remedy) == ("mpirun", "missing", "install one")


def test_what_dead_mpiruns_left_is_shown(monkeypatch, tmp_path):
    monkeypatch.setattr(session_directory.tempfile, "gettempdir", lambda: str(tmp_path))
    for number in (os.getpid(), 2**30):  # a living process, and one beyond any limit
        session_directory.session_folder(number).mkdir()
    (finding,) = doctor._stale_directories()
    assert finding.remedy == f"rm -r {tmp_path}/ompi.{2**30}"
    session_directory.remove(2**30)
    assert not list(doctor._stale_directories())


def test_an_mpirun_that_is_not_the_librarys_is_found():
    other = mpirun.Mpi("MPICH", "4.3", Path("/nowhere/mpirun"), ulfm=False)
    assert doctor._library(other).state == "missing"
    assert "restart works" in doctor._ulfm(other).remedy


def test_slots_are_no_more_than_a_plain_mpirun_takes(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    ours, other = (mpirun.Mpi(name, "5.0", Path("/nowhere/mpirun"), ulfm=True) for name in ("Open MPI", "MPICH"))
    said = {}
    for tuned in (True, False):
        monkeypatch.setattr(doctor.mca_parameters, "is_tuned", lambda tuned=tuned: tuned)
        said[tuned] = doctor._slots(ours).text
        assert "plain mpirun" not in doctor._slots(other).text
    assert "plain mpirun" not in said[True]
    assert "a plain mpirun takes one per core" in said[False]
