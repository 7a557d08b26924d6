"""Elastic training: the same bits over any number of ranks, and a model that learns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.errors import UsageError
from faults.drill.training import Training, digest, from_exact, save_digits, to_exact


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> np.ndarray:
    path = tmp_path_factory.mktemp("digits") / "digits.npy"
    save_digits(path)
    return np.load(path)


def test_the_jobs_of_a_drill_share_one_file_of_digits(tmp_path, data) -> None:
    for name, same in (("first", "none"), ("second", "first"), ("third", "second")):
        save_digits(tmp_path / name, tmp_path / same)
        assert np.array_equal(np.load(tmp_path / name), data)
    assert (tmp_path / "first").samefile(tmp_path / "third")


def over(training: Training, ranks: list[int], reduction: str) -> str:
    """Train with `ranks[step]` ranks in each step, adding as a ring over so many ranks would; the digest."""
    state = training.begin()
    for step, size in enumerate(ranks):
        groups = [training.gradients(state["weights"], step, training.own(rank, size)) for rank in range(size)]
        if reduction == "exact":
            sums = [np.add.reduce(to_exact(group)) for group in groups if len(group)]
            turn = size // 2  # a ring begins its sums at another rank in each block
            total = from_exact(np.add.reduce(sums[turn:] + sums[:turn]))
        else:
            total = np.add.reduce(np.stack([part for group in groups for part in group]), axis=0)
        training.apply(state, total)
    return digest(state)


@settings(max_examples=15)
@given(ranks=st.lists(st.integers(1, 16), min_size=3, max_size=3), reduction=st.sampled_from(["exact", "ordered"]))
def test_a_job_that_changes_its_size_ends_with_the_same_bits(data, ranks: list[int], reduction: str) -> None:
    training = Training(data, shards=16)
    state, _ = training.alone(3, reduction)
    assert over(training, ranks, reduction) == digest(state)


def test_exact_and_float_sums_agree_to_rounding(data) -> None:
    training = Training(data)
    exact, ordered = training.alone(5, "exact")[1], training.alone(5, "ordered")[1]
    assert np.allclose(exact, ordered, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shards", [1, 7, 16, 32])
def test_gradients_of_several_shards_have_the_bits_of_each(data, shards: int) -> None:
    training = Training(data, shards=shards)
    weights = training.alone(3)[0]["weights"]
    for own in (range(shards), range(shards // 3, shards), range(0)):
        each = [training.slope(weights, training.rows(3, shard)) for shard in own]
        assert training.gradients(weights, 3, own).tobytes() == np.array(each).tobytes()


def test_it_learns(data) -> None:
    training = Training(data)
    state, losses = training.alone(60)
    assert losses[0] > 2.0 > 0.5 > losses[-1]
    assert training.accuracy(state["weights"]) > 0.93


def test_the_gradient_is_the_slope_of_the_loss(data) -> None:
    training = Training(data, shards=4, batch=32, hidden=5)
    weights = training.begin()["weights"]
    rows = training.rows(0, 1)
    slope = training.slope(weights, rows)
    draw = np.random.default_rng(0)
    for index in draw.choice(training.parameters, 20, replace=False):
        nudge = np.zeros_like(weights)
        nudge[index] = 1e-6
        up, down = training.slope(weights + nudge, rows)[-1], training.slope(weights - nudge, rows)[-1]
        assert (up - down) / 2e-6 == pytest.approx(slope[index], abs=1e-5)


@given(ranks=st.integers(1, 40), shards=st.integers(1, 32))
def test_every_shard_has_one_owner(ranks: int, shards: int) -> None:
    training = Training(np.zeros((300, 65)), shards=shards)
    owned = [shard for rank in range(ranks) for shard in training.own(rank, ranks)]
    assert owned == list(range(shards))


@given(step=st.integers(0, 50), shards=st.integers(1, 32))
def test_the_shards_of_a_step_are_its_batch(step: int, shards: int) -> None:
    training = Training(np.zeros((1000, 65)), shards=shards)
    rows = np.concatenate([training.rows(step, shard) for shard in range(shards)])
    assert len(set(rows.tolist())) == len(rows) == training.batch


def test_more_shards_than_rows_are_refused(data) -> None:
    with pytest.raises(UsageError, match="virtual shards"):
        Training(data, shards=300)
