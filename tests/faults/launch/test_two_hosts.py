"""Two real hosts, one of which dies with its daemon; skipped, with the reason, where no hosts can be made."""

import subprocess
import time
from types import SimpleNamespace

import pytest

from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.drill import drill
from faults.drill.request import Request
from faults.launch import two_hosts
from faults.record import journal


def order(line: str, recovery: str = "restart", ranks: int = 4, **options) -> Request:
    return Request("ring", ranks, [line], recovery, steps=30, real_hosts=True, **options)


@pytest.mark.parametrize(("lost", "ranks"), [(0, 2), (1, 4)])
def test_a_host_that_dies_with_its_daemon_is_recovered_from_on_the_one_that_is_left(tmp_path, lost, ranks) -> None:
    try:
        two_hosts.check(mpirun.find_mpi(), ranks)
    except UsageError as error:
        pytest.skip(str(error))
    (evaluation,) = drill.run(order(f"kill host {lost} @ step 15", ranks=ranks), tmp_path, steady=False).evaluations
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    started = [r for r in journal.read(tmp_path / "repeat-000" / "journal") if r["what"] == "started"]
    assert {r["host"] for r in started if r["attempt"] == 0} == {"host-a", "host-b"}
    assert {r["host"] for r in started if r["attempt"] > 0} == {"host-b" if lost == 0 else "host-a"}


@pytest.mark.parametrize(
    ("line", "options", "said"),
    [
        ("kill host 1 @ step 2", {"recovery": "shrink"}, "--real-hosts goes with --recovery restart"),
        ("kill host 1 @ step 2 + 1 ms", {}, "lost at the beginning of a step"),
        ("kill host 2 @ step 2", {}, "host 2 is outside the job"),
    ],
)
def test_what_real_hosts_cannot_do_is_refused(line: str, options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        order(line, **options).spec(0)


def test_an_odd_number_of_ranks_is_refused() -> None:
    with pytest.raises(UsageError, match="as many ranks each"):
        two_hosts.check(mpirun.find_mpi(), 3)


def test_hosts_on_which_nothing_starts_are_refused_and_taken_down(tmp_path, monkeypatch) -> None:
    script, up = tmp_path / "stands-still", tmp_path / "up"
    script.write_text(
        f"#!/bin/bash\nsleep 60 & trap 'kill $!; echo down >> {tmp_path}/ends; exit' TERM\ntouch {up}\nwait\n"
    )
    script.chmod(0o755)

    class Started(subprocess.Popen):
        def communicate(self, *given, **options):
            while not up.exists():  # no time counts before it can be told to end
                time.sleep(1e-3)
            up.unlink()
            return super().communicate(*given, **options)

    monkeypatch.setattr(two_hosts, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": Started}))
    monkeypatch.setattr(two_hosts, "_SCRIPT", script)
    monkeypatch.setattr(two_hosts, "_TRY_S", 0.01)
    with pytest.raises(UsageError, match="3 times mpirun did not start"):
        two_hosts.check(mpirun.find_mpi(), 4)
    assert (tmp_path / "ends").read_text() == "down\n" * 3


def test_the_next_launch_is_on_the_host_that_is_left() -> None:
    assert two_hosts.command(4, ["x.py"])[1] == "2"
    assert two_hosts.command(4, ["x.py"], {0})[1:4] == ["--only", "b", "4"]
