"""Plans after which too few ranks remain are rejected; all others are not."""

import pytest

from emulator.errors import UsageError
from faults.drill.request import Request
from faults.drill.survivors import at_work_after

ONE_BY_ONE = [f"kill {rank} @ step {rank + 1}" for rank in range(4)]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("ring", 8, ["kill 0-7 @ step 3"]), "ends all 8 ranks at one instant"),
        (Request("ring", 4, ["kill host 0,1 @ step 3"], hosts=2), "ends all 4 ranks at one instant"),
        (Request("ring", 4, ["kill host 0 @ step 3", "kill host 1 @ step 5"], hosts=2), "ends 4 of 4 ranks"),
        (Request("ring", 4, ["kill 0-2 @ step 3", "hang 3 @ recovery"]), "0 would be left"),
        (Request("ring", 4, ["kill 0-2 @ step 3", "kill 3 @ step 3 phase agree"], options={"agree": 1}), "0 would be"),
        (Request("ring", 4, ["kill 0-3 @ step 3"], "spare", 4), "no rank is left to recover by spare"),
        (Request("ring", 4, ["kill 0-3 @ step 3"], "respawn"), "no rank is left to recover by respawn"),
        (Request("ring", 4, [*ONE_BY_ONE, "kill 0 @ step 9"], "spare", 1), "ends 5 of 5 ranks"),
        (Request("gossip", 4, ["kill 0-3 @ step 3"]), "no rank is left to recover by continue"),
        (Request("scatter-gather", 4, ["kill 1-3 @ step 3"]), "1 would be left, .* at least 2 ranks"),
        (Request("federated", 4, ["kill 1-3 @ step 3"]), "ends every worker"),
        (Request("parameter-server", 5, ["kill 0,1 @ step 3"], "replicate"), "ends every server"),
        (
            Request("ring", 4, ["kill host 0 @ step 3", "kill host 1 @ step 9"], "restart", real_hosts=True),
            "all 2 real hosts",
        ),
    ],
)
def test_too_few_survivors_are_rejected_in_one_line(request_: Request, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        request_.spec()
    assert "\n" not in str(error.value)


CHECKED = {"checksum": True}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("ring", 2, ["flip 1 @ step 3"], options=CHECKED), "1 of 2 would have another one: flip fewer"),
        (Request("ring", 4, ["flip 0 @ step 3", "flip 2 @ step 3"], options=CHECKED), "2 of 4 would have another one"),
        (Request("ring", 4, ["flip 4 @ step 3"], "spare"), "rank 4 waits, and holds no state: name one of 0 to 3"),
        (Request("ring", 4, ["flip 1 @ step 3 in message"], net="1gbe"), "messages of MPI itself, got --net 1gbe"),
        (Request("gossip", 4, ["flip 1 @ step 3 in message"]), "got gossip by continue"),
        (Request("ring", 4, ["kill 1 @ step 3"], "restart", options=CHECKED), "or rejoin, got restart: leave it out"),
    ],
)
def test_flips_and_checksums_without_any_use_are_rejected_in_one_line(request_: Request, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        request_.spec()
    assert "\n" not in str(error.value)


QUORUM = {"net": "1gbe", "quorum_s": 0.2}


@pytest.mark.parametrize(
    ("ranks", "lines", "stops"),
    [
        (6, ["cut 0-3|4-5 @ step 3 for 1 s"], [4, 5]),
        (6, ["cut 0-1|2-5 @ step 3 for 1 s"], [0, 1]),
        (6, ["cut 3-5|0-2 @ step 3 for 1 s"], [3, 4, 5]),
        (6, ["kill 0 @ step 2", "cut 1-3|4-5 @ step 3 for 1 s"], [4, 5]),
        (6, ["cut 0-3|4-5 @ step 3 for 200 ms"], []),
        (6, ["cut 0-3>4-5 @ step 3 for 1 s"], []),
    ],
)
def test_a_cut_that_lasts_stops_the_side_without_a_quorum(ranks: int, lines: list[str], stops: list[int]) -> None:
    job = Request("gossip", ranks, lines, **QUORUM).spec()
    assert [event.rank for event in job.events if event.kind.name == "cut-off"] == stops
    assert at_work_after(job) == ranks - len(stops) - sum("kill" in line for line in lines)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("ring", 6, ["cut 0|1-4 @ step 3 for 1 s"], **QUORUM), "ranks 5 are on none: name them"),
        (Request("parameter-server", 4, ["cut 0|1-3 @ step 3 for 1 s"], **QUORUM), "cannot do without rank 0"),
    ],
)
def test_a_cut_without_two_sides_or_without_a_server_is_rejected_in_one_line(request_: Request, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        request_.spec()
    assert "\n" not in str(error.value)


def test_flips_of_fewer_ranks_than_half_are_not_rejected() -> None:
    lines = ["flip 0 @ step 3", "flip 2 @ step 9"]
    assert at_work_after(Request("ring", 4, lines, options=CHECKED).spec()) == 2
    assert at_work_after(Request("ring", 2, ["flip 1 @ step 3"]).spec()) == 1


@pytest.mark.parametrize(
    ("request_", "after"),
    [
        (Request("ring", 8, ["kill 0-6 @ step 3"]), 1),
        (Request("ring", 4, ONE_BY_ONE, "spare", 1), 1),
        (Request("ring", 4, ["kill 0-2 @ step 3"], "spare", 4), 4),
        (Request("ring", 4, ONE_BY_ONE, "respawn"), 4),
        (Request("ring", 4, ["kill 0-3 @ step 3"], "restart"), 4),
        (Request("ring", 4, ["kill 0-3 @ rate 1/s"]), 4),  # of a rate's deaths none is certain
        (Request("scatter-gather", 4, ["kill 1,2 @ step 3"]), 2),
    ],
)
def test_what_can_be_survived_is_not_rejected(request_: Request, after: int) -> None:
    assert at_work_after(request_.spec()) == after
