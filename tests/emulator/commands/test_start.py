"""What a rank loads, and when: its start is paid once for each of many ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emulator.launch import mpirun

PROGRAM = """
import sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
LATER = (
    "numpy", "rich", "pydantic", "importlib.metadata", "primitives.collectives", "emulator.network.jitter",
    "tempfile", "subprocess",
)
early = [name for name in LATER if name in sys.modules]
comm.Sendrecv(bytearray(b"12345678"), comm.rank ^ 1, 0, box := bytearray(8), comm.rank ^ 1)
if comm.rank == 1:
    print("early", early, flush=True)
import numpy as np
out, into = np.arange(3.0), np.zeros(3)
comm.Sendrecv(out, comm.rank ^ 1, 0, into, comm.rank ^ 1)
comm.Sendrecv([out, MPI.BYTE], comm.rank ^ 1, 0, [into, MPI.BYTE], comm.rank ^ 1)
total = np.zeros(3)
comm.Allreduce(into, total)
try:
    comm.Send(np.zeros(2, ">f8"), comm.rank ^ 1)
    refused = False
except BufferError:
    refused = True
print("rank", box == b"12345678", into.tolist(), total.tolist(), comm.allreduce(comm.rank), refused, flush=True)
"""


def test_a_rank_that_needs_no_numpy_loads_none_and_takes_arrays_once_the_program_has(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = ["-m", "emulator", "run", "--net", "10gbe", "--quiet", "--out", str(tmp_path / "run"), str(program)]
    job = subprocess.run(mpirun.command(2, words), capture_output=True, text=True, timeout=120, check=False)
    assert job.returncode == 0, job.stderr
    assert sorted(job.stdout.splitlines()) == [
        "early []",
        *2 * ["rank True [0.0, 1.0, 2.0] [0.0, 2.0, 4.0] 1 True"],
    ]


@pytest.mark.parametrize(
    ("program", "later"),
    [
        (
            "demos.ring",
            ["emulator.network", "emulator.costs.registry", "emulator.measure.fit", "subprocess", "tempfile"],
        ),
        ("demos.gossip", ["emulator.network", "emulator.costs.registry", "emulator.measure.fit", "subprocess"]),
        ("faults.drill.rank_main", ["emulator.network", "emulator.costs", "emulator.core.engine", "hashlib"]),
    ],
)
def test_what_rank_0_or_an_emulated_network_needs_is_not_loaded_by_each_rank(program: str, later: list[str]) -> None:
    code = (
        "import sys, mpi4py; mpi4py.rc.initialize = False\n"
        f"import {program}\n"
        f"print([name for name in {later} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_mpi_begins_before_anything_else_is_loaded() -> None:
    """Ranks that are there poll until the last one has come: what each loads before delays all."""
    code = (
        "import os, sys; os.environ['PMIX_RANK'] = '0'\n"
        "class Begun(Exception): pass\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'mpi4py.MPI': raise Begun([one for one in ('click', 'numpy') if one in sys.modules])\n"
        "sys.meta_path.insert(0, Finder())\n"
        "import runpy\n"
        "sys.argv = ['emulator', 'run']\n"
        "try: runpy.run_module('emulator', run_name='__main__', alter_sys=False)\n"
        "except Begun as begun: print(begun)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[]\n", done.stderr
