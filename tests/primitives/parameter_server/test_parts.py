"""The pieces around a shard: updates, compression, key lists, requests cut by shard, roles, staleness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

from emulator.errors import UsageError
from primitives.parameter_server import SGD, Adagrad, Add, Consistency, Function, Momentum, Table, Update, messages
from primitives.parameter_server.channel import Channel, PendingRequest
from primitives.parameter_server.compression import TopK, parse, to_half
from primitives.parameter_server.consistency import Staleness, StalenessExceeded
from primitives.parameter_server.keys import KeySharder, merge
from primitives.parameter_server.layout import Layout, roles
from primitives.parameter_server.messages import Header, KeyCache, signature
from primitives.parameter_server.placement import KINDS


def twice(values: Any, gradient: Any) -> Any:
    return 2 * values + gradient


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        (Add(), [1 + 0.5 - 0.25]),
        (SGD(0.1), [1 - 0.1 * 0.5 + 0.1 * 0.25]),
        (Momentum(0.1, 0.9), [1 - 0.1 * 0.5 - 0.1 * (0.9 * 0.5 - 0.25)]),
        (Momentum(0.1, 0.9, nesterov=True), [1 - 0.1 * (0.5 + 0.9 * 0.5) - 0.1 * (-0.25 + 0.9 * (0.45 - 0.25))]),
        (Adagrad(0.1, 1e-12), [1 - 0.1 + 0.1 * 0.25 / np.sqrt(0.5**2 + 0.25**2)]),
        (Function(twice), [2 * (2 * 1 + 0.5) - 0.25]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Update) else "",
)
@pytest.mark.parametrize("rows", [slice(1, 2), np.array([1])], ids=["dense", "sparse"])
def test_two_steps_by_hand_touch_their_rows_only(update: Update, expected: list[float], rows: Any) -> None:
    values = np.array([7.0, 1.0, 7.0])
    state = update.state(values)
    update.apply(values, state, rows, np.array([0.5]))
    update.apply(values, state, rows, np.array([-0.25]))
    assert values[1:2] == pytest.approx(expected)
    assert values[0] == values[2] == 7.0


@given(st.integers(1, 40), st.sampled_from([1, 3]), st.floats(0.01, 1.0), st.integers(0, 99))
def test_top_k_loses_nothing(rows: int, width: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    top = TopK(share)
    shape = (rows,) if width == 1 else (rows, width)
    # Whole numbers, so that sums are exact in any order.
    gradients = rng.integers(-50, 50, (5, *shape)).astype(float)
    sent = np.zeros(shape)
    for step, gradient in enumerate(gradients):
        keys, values = top.select(0, gradient)
        assert keys is not None
        assert len(keys) == max(1, round(share * rows))
        assert (np.diff(keys) > 0).all()
        sent[keys] += values
        np.testing.assert_array_equal(sent + top.residual[0], gradients[: step + 1].sum(axis=0))


def test_top_k_sends_the_largest() -> None:
    keys, values = TopK(0.5).select(0, np.array([1.0, -9.0, 3.0, -2.0]))
    assert keys is not None
    assert keys.tolist() == [1, 2]
    assert values.tolist() == [-9, 3]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_top_k_keeps_no_nan(bad: float) -> None:
    """A gradient that the servers refuse must not come back with the next ones."""
    top = TopK(0.25)
    top.select(0, np.arange(4.0))
    keys, values = top.select(0, np.array([1.0, bad, bad, 0.0]))
    assert keys is None
    assert not np.isfinite(values).all()
    assert top.residual[0].tolist() == [0, 1, 2, 0]


def test_half_clamps_but_keeps_what_is_not_finite() -> None:
    half = to_half(np.array([1e9, -1e9, 0.5, np.inf, -np.inf, np.nan]))
    assert half.tolist()[:5] == [65504, -65504, 0.5, np.inf, -np.inf]
    assert np.isnan(half[5])


@pytest.mark.parametrize(
    ("text", "message"),
    [(text, "must be none, fp16 or topk:SHARE") for text in ("zip", "topk", "topk:x", "fp16:1")]
    + [(f"topk:{share}", "share must lie in") for share in ("0", "2", "nan", "-1")],
)
def test_bad_compression(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 4))
def test_both_ends_of_a_key_cache_agree(uses: list[int], size: int) -> None:
    sender, receiver = KeyCache(size), KeyCache(size)
    for mark in uses:
        if sender.add(mark, None):
            assert receiver.get(mark) == -mark
        else:
            receiver.add(mark, -mark)
    assert signature(np.arange(3)) != signature(np.arange(4))


@given(st.sampled_from([*KINDS]), st.integers(1, 5), st.lists(st.integers(0, 29), max_size=40), st.sampled_from([1, 2]))
def test_the_pieces_name_every_row_once(kind: str, shards: int, keys: list[int], width: int) -> None:
    layout = Layout(9, range(shards), [8], [Table("w", 30, width, placement=kind)])
    sharded = KeySharder(layout).shard(0, np.array(keys, np.int64))
    content = np.random.default_rng(0).normal(size=layout.tables[0].shape(30))
    rows = np.zeros(layout.tables[0].shape(sharded.distinct))
    for piece in sharded.pieces:
        assert piece.keys is not None
        assert (layout.placements[0].shard_of(piece.keys) == piece.shard).all()
        rows[piece.where] = content[piece.keys]
    got = rows if sharded.inverse is None else rows[sharded.inverse]
    np.testing.assert_array_equal(got, content[np.array(keys, np.int64)])
    merged = merge(sharded, np.ones(layout.tables[0].shape(len(keys))))
    expected = np.zeros(layout.tables[0].shape(sharded.distinct))
    expected.T[:] = np.unique(keys, return_counts=True)[1]
    np.testing.assert_array_equal(merged, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keys", [None, slice(3, 17), slice(5, 5)])
def test_a_range_is_cut_along_the_shards(kind: str, keys: slice | None) -> None:
    layout = Layout(4, range(3), [3], [Table("w", 20, placement=kind)])
    sharded = KeySharder(layout).shard(0, keys)
    rows = np.full(sharded.distinct, -1)
    first = keys.start if keys else 0
    for piece in sharded.pieces:
        owned = layout.placements[0].keys(piece.shard)
        rows[piece.where] = owned[(owned >= piece.first) & (owned < piece.last)]
    assert rows.tolist() == list(range(20))[keys or slice(None)]
    assert first + sharded.rows <= 20


@pytest.mark.parametrize(
    "keys", [np.array([3, 20]), np.array([-1]), np.array([0.5]), np.array([[1]]), slice(0, 21), slice(0, 9, 2)]
)
def test_keys_out_of_range_are_named(keys: Any) -> None:
    layout = Layout(2, [0], [1], [Table("w", 20)])
    with pytest.raises(UsageError, match=r"keys"):
        KeySharder(layout).shard(0, keys)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: roles(1, 1), "need 2 ranks, got 1"),
        (lambda: roles(4, 2, 3), "need 5 ranks, got 4"),
        (lambda: roles(4, 0), "both must be >= 1"),
        (lambda: Layout(4, [0, 0], [1], [Table("w", 1)]), "distinct"),
        (lambda: Layout(4, [0], [4], [Table("w", 1)]), "between 0 and 3"),
        (lambda: Layout(4, [0], [], [Table("w", 1)]), "at least one worker"),
        (lambda: Layout(4, [0], [1], [Table("w", 1)], replicas=2), "replicas must lie between 1 and the 1 servers"),
        (lambda: Layout(4, [0], [1], []), "at least one table"),
        (lambda: Layout(4, [0], [1], [Table("w", 1)]).table("v"), "no table 'v'"),
        (lambda: Consistency("ssp", -1), "staleness must be a whole number >= 0, got -1"),
        (lambda: Consistency("ssp", 1.5), "whole number"),
        (lambda: Consistency("eventual"), "bsp, async, ssp"),
        (lambda: Table("w", 0), "rows"),
        (lambda: Table("w", 3, dtype=np.int64), "floating"),
        (lambda: Table("w", 3, placement="here"), "placement"),
        (lambda: SGD(0), "rate must be > 0"),
        (lambda: Momentum(0.1, 1.0), "momentum"),
    ],
)
def test_bad_input_is_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_chains_close_their_gaps() -> None:
    layout = Layout(6, [1, 3, 5], [0], [Table("w", 9)], replicas=2)
    assert [layout.chain(shard) for shard in layout.shards] == [[1, 3], [3, 5], [5, 1]]
    assert {rank: sorted(layout.kept_by(rank)) for rank in (1, 3, 5)} == {1: [0, 2], 3: [0, 1], 5: [1, 2]}
    layout.dead.add(3)
    assert [layout.chain(shard) for shard in layout.shards] == [[1], [5], [5, 1]]
    layout.dead.add(1)
    with pytest.raises(UsageError, match="shard 0 is lost"):
        layout.chain(0)


def test_staleness_above_the_bound_cannot_be_counted() -> None:
    seen = Staleness()
    for value in (0, 0, 1, 2):
        seen.observe(value, bound=2)
    with pytest.raises(StalenessExceeded, match="3 iterations stale, the bound is 2"):
        seen.observe(3, bound=2)
    both = Staleness(seen + Staleness({2: 4}))
    assert (both.total(), both.mean, both.largest) == (8, 11 / 8, 2)


class Reply:
    """A reply whose server dies first: every look at the first one fails."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def Test(self) -> bool:
        if self.fails:
            raise MPI.Exception(MPI.ERR_PROC_FAILED)
        return True


def test_a_look_at_a_reply_whose_server_died_asks_its_successor(monkeypatch) -> None:
    asked = PendingRequest(Header(messages.PULL))
    asked.request = Reply(fails=True)  # type: ignore[assignment]
    channel = Channel(MPI.COMM_SELF, Layout(2, [0], [1], [Table("w", 1)]), on_failure=lambda failure: [])
    monkeypatch.setattr(channel, "ask", lambda again: setattr(again, "request", Reply(fails=False)))
    assert not channel.arrived(asked)
    assert channel.arrived(asked)
