"""Two hosts out of one machine; skipped, with the reason, where namespaces can't be made."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CANNOT = 77
PROGRAM = """
import json
from mpi4py import MPI
from emulator.wire.clock_sync import synchronise
sync = synchronise(MPI.COMM_WORLD, points=6, span=0.1)
here = MPI.Get_processor_name(), sync.clocks, sync.residual, sync.bound, sync.line.offset
seen = MPI.COMM_WORLD.gather(here)
if seen:
    print("SEEN", json.dumps(seen), flush=True)
"""


def two_hosts(*arguments):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [ROOT / "scripts" / "two-hosts", *arguments], capture_output=True, text=True, timeout=120, env=environment
    )
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.strip())
    return done


@pytest.fixture(scope="module")
def seen():
    done = two_hosts("2", sys.executable, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("SEEN ")[2].splitlines()[0])


def test_ranks_are_dealt_out_to_two_hosts(seen):
    assert [name for name, *_ in seen] == ["host-a", "host-b", "host-a", "host-b"]


def test_clocks_of_two_hosts_are_synchronised_to_within_what_was_measured(seen):
    for name, clocks, residual, bound, offset in seen:
        assert clocks == 2
        # Both hosts read one kernel's clock, so the true offset is 0 and all that is found is error.
        assert abs(offset) <= bound if name == "host-b" else offset == 0
        assert 0 <= residual < 1
        assert bound > 0


PACED = """
import sys
from mpi4py import MPI
from emulator import emulate
from emulator.errors import UsageError
try:
    comm = emulate(MPI.COMM_WORLD, sys.argv[1], pace=1)
except UsageError as error:
    if MPI.COMM_WORLD.rank == 0:
        print("REFUSED", error, flush=True)
    sys.exit(0)
comm.align()
start = comm.now()
for _ in range(5):
    comm.Sendrecv(bytearray(8), comm.rank ^ 1, 0, bytearray(8), comm.rank ^ 1, 0)
if comm.rank == 0:
    print("TOOK", comm.now() - start, flush=True)
"""


def test_emulated_time_holds_across_hosts_at_a_pace():
    done = two_hosts("1", sys.executable, "-c", PACED, "wan")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.partition("TOOK ")[2].split()[0]) == pytest.approx(5 * (35e-3 + 8 * 3.2e-9), rel=1e-9)


def test_a_latency_that_the_clocks_cannot_tell_is_refused(tmp_path):
    (tmp_path / "quick.toml").write_text('[link]\nlatency = "1 ns"\nbandwidth = "10 Gbit/s"\n')
    done = two_hosts("1", sys.executable, "-c", PACED, str(tmp_path / "quick.toml"))
    assert done.returncode == 0, done.stderr
    assert "REFUSED across hosts a latency must be at least 5 times what their clocks disagree by" in done.stdout


def test_the_status_is_the_programs_and_nothing_is_left():
    done = two_hosts("1", sys.executable, "-c", "raise SystemExit(3)")
    assert done.returncode == 3
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, timeout=20, check=True).stdout
    alive = [line for line in left.split() if line.startswith("two-hosts-") and not running(line.split("-")[2])]
    assert alive == []


def test_a_limit_has_the_queue_and_the_congestion_control_that_were_asked_for():
    line = ["--rate", "50mbit", "--burst", "32kb", "--queue", "1s", "--congestion", "reno"]
    done = two_hosts(*line, "1", "sh", "-c", "echo SEEN $(tc qdisc show dev cable) $(ip route show dev cable)")
    seen = [text for text in done.stdout.splitlines() if text.startswith("SEEN")]
    assert [("rate 50Mbit" in one, "lat 1s" in one, "congctl reno" in one) for one in seen] == 2 * [3 * (True,)]


def test_a_limited_host_lets_a_millisecond_pass_at_once_and_holds_one_below_its_sockets():
    """Else a limit measures its own bucket, and what answers a message waits behind the whole of another."""
    shown = "$(tc qdisc show dev cable) $(ip -d link show dev cable) $(cat /proc/sys/net/ipv4/tcp_limit_output_bytes)"
    done = two_hosts("--rate", "100mbit", "1", "sh", "-c", f"echo SEEN {shown}")
    seen = [text for text in done.stdout.splitlines() if text.startswith("SEEN")]
    assert [("burst 12500b" in one, "gso_max_size 8333" in one, one.split()[-1]) for one in seen] == 2 * [
        (True, True, "12500")
    ]


def running(pid):
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("arguments", [(), ("2",), ("0", "true"), ("two", "true"), ("--rate",)], ids=str)
def test_bad_usage_prints_the_usage(arguments):
    done = subprocess.run([ROOT / "scripts" / "two-hosts", *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "RANKS_PER_HOST COMMAND" in done.stderr
