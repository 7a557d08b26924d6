"""Half of a larger job dies at one instant, with its host: 16 ranks under policies within a job, 8 under the rest.

On simulated ranks; a host of real ranks dies under `spare` in `test_host_failure` and under `respawn`, which starts as
many processes, in `tests.faults.recover.test_multilevel`; each pattern loses ranks of a real job in
`tests.faults.patterns.test_patterns`.
"""

import pytest

from faults.drill import drill
from faults.drill.checks import Evaluation
from faults.drill.request import Request
from faults.drill.resolution import even_hosts

LINE = "kill host 1 @ step 5"


def lose_a_host(tmp_path, pattern: str, policy: str, ranks: int, hosts: list[int], spares: int = 0) -> Evaluation:
    steps = 60 if pattern == "gossip" else 12  # until the survivors agree
    order = Request(
        pattern, ranks, [LINE], policy, spares=spares, steps=steps, hosts=hosts, simulate=True
    )  # fmt: skip
    (evaluation,) = drill.run(order, tmp_path, steady=False).evaluations
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.checks["leftovers"] == (True, "0 processes were left")
    return evaluation


@pytest.mark.parametrize(("policy", "spares", "left"), [("shrink", 0, 8), ("spare", 2, 10), ("respawn", 0, 16)])
def test_half_of_the_ranks(tmp_path, policy: str, spares: int, left: int) -> None:
    evaluation = lose_a_host(tmp_path, "ring", policy, 16, even_hosts(16, spares, 2), spares)
    assert (evaluation.ranks_after, len(evaluation.episodes[0].deaths)) == (left, 8)
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
