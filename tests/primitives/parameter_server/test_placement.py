from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from primitives.parameter_server.placement import KINDS, moved, place

ROWS = 20_000


@given(st.sampled_from([*KINDS]), st.integers(0, 300), st.integers(1, 9))
def test_every_key_has_one_owner_and_owners_agree(kind: str, rows: int, shards: int) -> None:
    placement = place(kind, rows, shards)
    owned = [placement.keys(shard) for shard in range(shards)]
    assert np.array_equal(np.sort(np.concatenate(owned)), np.arange(rows))
    for shard, keys in enumerate(owned):
        assert (np.diff(keys) > 0).all()
        assert (placement.shard_of(keys) == shard).all()


@given(st.integers(0, 1000), st.integers(1, 16))
def test_ranges_are_even_and_contiguous(rows: int, shards: int) -> None:
    placement = place("range", rows, shards)
    sizes = [len(placement.keys(shard)) for shard in range(shards)]
    assert max(sizes) - min(sizes) <= 1
    assert np.array_equal(np.concatenate([placement.keys(s) for s in range(shards)]), np.arange(rows))


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 7, 8, 15])
def test_a_shard_that_joins_takes_its_share_and_nothing_else_moves(shards: int) -> None:
    before, after = place("consistent", ROWS, shards), place("consistent", ROWS, shards + 1)
    keys = np.arange(ROWS)
    changed = before.shard_of(keys) != after.shard_of(keys)
    assert (after.shard_of(keys[changed]) == shards).all()
    # 256 points per shard: a share varies by about 1/16 of itself; four times that is never left.
    assert moved(before, after) == pytest.approx(1 / (shards + 1), rel=0.25)


@pytest.mark.parametrize("gone", [0, 2, 4])
def test_a_shard_that_leaves_gives_its_share_and_nothing_else_moves(gone: int) -> None:
    names = [0, 1, 2, 3, 4]
    before, after = place("consistent", ROWS, names), place("consistent", ROWS, [n for n in names if n != gone])
    keys = np.arange(ROWS)
    owner_before = np.asarray(before.names)[before.shard_of(keys)]
    owner_after = np.asarray(after.names)[after.shard_of(keys)]
    assert np.array_equal(owner_before != owner_after, owner_before == gone)
    assert moved(before, after) == pytest.approx(1 / 5, rel=0.25)


def test_hash_and_range_move_most_keys() -> None:
    assert moved(place("hash", ROWS, 4), place("hash", ROWS, 5)) == pytest.approx(4 / 5, abs=0.02)
    assert moved(place("range", ROWS, 4), place("range", ROWS, 5)) == pytest.approx(1 / 2, abs=0.02)


@pytest.mark.parametrize("kind", ["hash", "consistent"])
def test_neighbouring_keys_spread_evenly(kind: str) -> None:
    placement = place(kind, ROWS, 8)
    sizes = np.array([len(placement.keys(shard)) for shard in range(8)])
    assert sizes == pytest.approx(ROWS / 8, rel=0.25)
    run = placement.shard_of(np.arange(64))
    assert len(set(run.tolist())) == 8


def test_unknown_kind_and_no_shard() -> None:
    with pytest.raises(UsageError, match="range, hash, consistent, got 'random'"):
        place("random", 10, 2)
    with pytest.raises(UsageError, match="at least one shard"):
        place("hash", 10, 0)
