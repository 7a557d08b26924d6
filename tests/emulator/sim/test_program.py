"""Unchanged programs on simulated ranks: what each rank has for itself, and what is refused."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from emulator.network import load
from emulator.sim import DeadlockError
from emulator.sim.programs import blocking
from emulator.sim.programs.program import RankFailed, run_program


def simulate(folder: Path, text: str, *arguments: str, ranks: int = 4, seed: int = 0, compute: str = "none") -> Any:
    """Run a script on simulated ranks whose compute takes no time unless it is to be measured."""
    path = folder / "program.py"
    path.write_text("import random, sys, time\nimport numpy as np\nfrom mpi4py import MPI\n" + text)
    network = load("10gbe").sized(ranks)
    return run_program(None, [str(path), *arguments], ranks, network, seed=seed, compute=compute)


def failure(folder: Path, text: str) -> RankFailed:
    with pytest.raises(RankFailed) as caught:
        simulate(folder, text)
    return caught.value


def test_modules_belong_to_a_rank(tmp_path: Path) -> None:
    (tmp_path / "kept.py").write_text(
        "from mpi4py import MPI\nrank = MPI.COMM_WORLD.rank\nMPI.COMM_WORLD.Barrier()\nlater = None\n"
    )
    simulate(tmp_path, "\n".join([
        "import kept", "comm = MPI.COMM_WORLD", "kept.later = comm.rank", "comm.Barrier()", "import kept as again",
        "assert kept is again is sys.modules['kept'] and kept.rank == kept.later == comm.rank",
        "assert sys.modules['__main__'].kept is kept and __name__ == '__main__'",
        "class Box: pass", "got = comm.sendrecv(Box(), (comm.rank + 1) % comm.size)", "assert type(got) is Box",
    ]))  # fmt: skip
    assert "kept" not in sys.modules


def test_arguments_and_paths_belong_to_a_rank(tmp_path: Path) -> None:
    simulate(tmp_path, "\n".join([
        "assert sys.argv[1:] == ['a', '-b'] and sys.argv[0] == __file__", "sys.argv.append(str(MPI.COMM_WORLD.rank))",
        "sys.path.append('x')", "MPI.COMM_WORLD.Barrier()",
        "assert sys.argv[3:] == [str(MPI.COMM_WORLD.rank)] and sys.path.count('x') == 1",
    ]), "a", "-b")  # fmt: skip


NUMBERS = """
draws = (random.random(), np.random.rand(), np.random.standard_normal(), np.random.default_rng().random())
MPI.COMM_WORLD.Barrier()
np.random.seed(5); random.seed(5)
MPI.COMM_WORLD.Barrier()
again = (np.random.sample(), random.random())
rows = MPI.COMM_WORLD.gather((draws, again))
if rows:
    print(rows)
"""


def test_random_numbers_belong_to_a_rank_and_to_the_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for seed in (0, 0, 1):
        simulate(tmp_path, NUMBERS, seed=seed)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    rows = eval(texts[0])
    drawn = [value for draws, _ in rows for value in draws]
    assert len(set(drawn)) == len(drawn)
    expected = (np.random.RandomState(5).random_sample(), random.Random(5).random())
    assert all(again == expected for _, again in rows)


def test_lines_of_ranks_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulate(tmp_path, "\n".join([
        "r = MPI.COMM_WORLD.rank", "print('rank', end=' ')", "MPI.COMM_WORLD.Barrier()",
        "time.sleep(1 - r / 10)", "print(r)", "print('left', end='')",
    ]))  # fmt: skip
    assert capsys.readouterr().out == "".join(f"rank {r}\nleft" for r in (3, 2, 1, 0))


def test_clocks_read_simulated_time(tmp_path: Path) -> None:
    outcome = simulate(tmp_path, "\n".join([
        "begin = MPI.Wtime(), time.perf_counter(), time.monotonic(), time.time(), time.time_ns() / 1e9",
        "time.sleep(3600)",
        "end = MPI.Wtime(), time.perf_counter(), time.monotonic(), time.time(), time.time_ns() / 1e9",
        "assert all(abs(b - a - 3600) < 1e-5 for a, b in zip(begin, end)), (begin, end)",
        "while time.perf_counter() < 3601: pass",
        "while MPI.Wtime() < 3602: pass",
    ]))  # fmt: skip
    assert 3602 <= outcome.seconds < 3602.5


def test_each_rank_has_a_communicator_of_itself(tmp_path: Path) -> None:
    simulate(tmp_path, "\n".join([
        "me, rank = MPI.COMM_SELF, MPI.COMM_WORLD.rank", "request = me.isend(rank, 0)", "MPI.COMM_WORLD.Barrier()",
        "assert me.size == 1 and me.recv(source=0) == rank", "request.wait()",
        "data = np.arange(3.0)", "packed = bytearray(24)", "MPI.DOUBLE.Pack(data, packed, 0, MPI.COMM_WORLD)",
        "assert packed == data.tobytes()",
        "me.Isend([data, 2, MPI.DOUBLE], 0)", "me.Recv(bytearray(16), 0)", "copy = MPI.COMM_WORLD.Dup()",
        "assert MPI.Comm.Compare(MPI.COMM_WORLD, copy) == MPI.CONGRUENT",
    ]))  # fmt: skip


def test_a_module_runs_as_with_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packed"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("value = 7\n")
    (package / "__main__.py").write_text(
        "import sys\nfrom .other import value\nassert value == 7 and __package__ == 'packed'\n"
        "assert sys.argv[0].endswith('__main__.py') and sys.argv[1:] == ['x']\n"
    )
    monkeypatch.chdir(tmp_path)
    run_program("packed", ["x"], 3, load("10gbe").sized(3))


REFUSED = {
    "socket.socket": "import socket; socket.socket()",
    "socket.getaddrinfo": "import socket; socket.getaddrinfo('localhost', 80)",
    "subprocess.Popen": "import subprocess; subprocess.run(['true'])",
    "os.system": "import os; os.system('true')",
    "os.fork": "import os; os.fork()",
    "threading.Thread.start": "import threading; threading.Thread(target=print).start()",
    "_thread.start_new_thread": "import _thread; _thread.start_new_thread(print, ())",
    "os._exit": "import os; os._exit(0)",
    "signal.alarm": "import signal; signal.alarm(1)",
    "input": "input()",
    "sys.stdin.read": "sys.stdin.read()",
    "signal.pause": "import signal; signal.pause()",
    "select.select": "import select; select.select([0], [], [])",
    "os.waitpid": "import os; os.waitpid(-1, 0)",
    "threading.Condition.wait": "import queue; queue.Queue().get()",
    "Win.Create": "MPI.Win.Create(np.zeros(1), comm=MPI.COMM_WORLD)",
    "File.Open": "MPI.File.Open(MPI.COMM_WORLD, 'x')",
    "Spawn": "MPI.COMM_WORLD.Spawn('true')",
}


@pytest.mark.parametrize("call", REFUSED)
def test_what_ranks_of_one_process_cannot_do_is_refused(tmp_path: Path, call: str) -> None:
    caught = failure(tmp_path, f"if MPI.COMM_WORLD.rank == 2:\n    {REFUSED[call]}\n")
    assert caught.rank == 2
    assert call in str(caught.cause)
    assert getattr(caught.cause, "exit_code", None) == 2


def test_a_pool_of_threads_is_refused_although_its_ranks_share_a_lock(tmp_path: Path) -> None:
    pool = "from concurrent.futures import ThreadPoolExecutor as Pool\nMPI.COMM_WORLD.barrier()\nPool().submit(print)\n"
    with pytest.raises(RankFailed) as caught:
        simulate(tmp_path, pool, compute="measured")
    assert "threading.Thread.start" in str(caught.value.cause)


def test_a_wait_that_nothing_tells_of_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "_LOOK_S", 0.2)
    caught = failure(tmp_path, "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\n")
    assert "a wait of 0.4 s outside MPI" in str(caught.cause)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_a_wait_with_a_limit_is_time_that_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "import threading\nassert not threading.Event().wait(2.5)\nprint(round(MPI.Wtime(), 6))\n"
    simulate(tmp_path, text, ranks=2)
    assert capsys.readouterr().out == "2.5\n2.5\n"


@pytest.mark.parametrize(("end", "code"), [("sys.exit(3)", 3), ("MPI.COMM_WORLD.Abort(4)", 4),
                                           ("MPI.COMM_WORLD.Abort(0)", 0), ("sys.exit('why')", "why")])  # fmt: skip
def test_the_end_of_one_rank_may_end_all(tmp_path: Path, end: str, code: Any) -> None:
    caught = failure(tmp_path, f"if MPI.COMM_WORLD.rank == 1:\n    {end}\nMPI.COMM_WORLD.recv()\n")
    assert (caught.rank, caught.cause.code) == (1, code)


def test_ranks_that_are_ended_print_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "try:\n    assert MPI.COMM_WORLD.rank != 1\n    MPI.COMM_WORLD.recv()\nfinally:\n    print('end')\n"
    assert isinstance(failure(tmp_path, text).cause, AssertionError)
    assert capsys.readouterr().out == "end\n"


def test_exit_handlers_are_those_of_a_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulate(tmp_path, "import atexit\natexit.register(lambda: print('end of', MPI.COMM_WORLD.rank))\n", ranks=2)
    assert capsys.readouterr().out == "end of 0\nend of 1\n"


def test_a_deadlock_names_the_lines(tmp_path: Path) -> None:
    with pytest.raises(DeadlockError, match=r"program.py, line 4"):
        simulate(tmp_path, "MPI.COMM_WORLD.recv(source=0)\n")


def test_all_is_as_before_afterwards(tmp_path: Path) -> None:
    def seen() -> list[Any]:
        return [
            sys.argv, sys.path, sys.stdout, sys.stdin, MPI.COMM_WORLD, MPI.COMM_SELF, MPI.Wtime, MPI.Init, time.sleep,
            time.time, np.random, sys.modules["random"], sys.modules["__main__"], threading.Thread.start,
            threading.Condition.wait,
        ]  # fmt: skip

    before = seen()
    simulate(tmp_path, "import random\n")
    failure(tmp_path, "1 / 0\n")
    assert all(one is other for one, other in zip(before, seen(), strict=True))
