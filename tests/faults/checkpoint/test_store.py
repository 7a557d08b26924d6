"""Checkpoints: whole or recognisably not, and readable by any number of ranks."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.costs.checkpoints import in_steps, waste
from emulator.errors import UsageError
from faults.checkpoint import Damaged, Slice, Store, daly, young


def state_of(seed: int, length: int = 100) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {"weights": draw.standard_normal((length, 3)), "step": np.array([seed])}


def save(store: Store, step: int, ranks: int, state: dict[str, np.ndarray] | None = None) -> None:
    for rank in range(ranks):
        store.save(step, state or state_of(step), rank, ranks)


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(found[name], expected[name]) for name in expected) and found.keys() == expected.keys()


@given(ranks=st.integers(1, 9), length=st.integers(0, 40))
def test_what_any_number_of_ranks_wrote_together_is_read_whole(tmp_path_factory, ranks: int, length: int) -> None:
    store = Store(tmp_path_factory.mktemp("store"), "job")
    state = state_of(1, length)
    save(store, 1, ranks, state)
    assert same(store.load(1), state)


@given(writers=st.integers(1, 7), readers=st.integers(1, 7), length=st.integers(1, 50))
def test_slices_are_dealt_out_anew_when_the_ranks_changed(
    tmp_path_factory, writers: int, readers: int, length: int
) -> None:
    store, whole = Store(tmp_path_factory.mktemp("store"), "job"), np.arange(length)
    for rank in range(writers):
        first, last = rank * length // writers, (rank + 1) * length // writers
        store.save_slices(4, {"momentum": Slice(whole[first:last], first, length)}, rank, writers)
    for rank in range(readers):
        first, last = rank * length // readers, (rank + 1) * length // readers
        part = store.load(4, {"momentum": (first, last)})["momentum"]
        assert np.array_equal(part, whole[first:last])


@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found_and_the_one_before_is_used(tmp_path_factory, position: int, bit: int) -> None:
    store = Store(tmp_path_factory.mktemp("store"), "job")
    save(store, 1, 2)
    save(store, 2, 2)
    path = store.folder / "00000002" / "part-001-of-002"
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    step, damaged = store.newest_intact()
    assert step == 1
    assert len(damaged) == 1
    assert same(store.load(1), state_of(1))
    with pytest.raises(Damaged):
        store.load(2)


@given(kept=st.integers(0, 10**6))
def test_a_file_that_was_cut_off_is_found(tmp_path_factory, kept: int) -> None:
    store = Store(tmp_path_factory.mktemp("store"), "job")
    save(store, 1, 1)
    path = store.folder / "00000001" / "part-000-of-001"
    whole = path.read_bytes()
    path.write_bytes(whole[: kept % len(whole)])
    assert store.newest_intact()[0] is None


def test_a_missing_part_makes_a_checkpoint_incomplete(tmp_path) -> None:
    store = Store(tmp_path, "job")
    save(store, 1, 3)
    save(store, 2, 3)
    (tmp_path / "00000002" / "part-001-of-003").unlink()
    assert store.newest_intact() == (1, ["00000002 has 2 parts of 3"])


def test_the_last_k_are_kept(tmp_path) -> None:
    store = Store(tmp_path, "job", keep=2)
    for step in range(1, 7):
        save(store, step, 2)
    assert store.steps()[-2:] == [5, 6]
    assert len(store.steps()) <= 3  # the one that was being written while the oldest was dropped may stand beside them


def test_a_disk_without_room_costs_the_checkpoint_and_not_the_job(tmp_path) -> None:
    store = Store(tmp_path, "job")
    save(store, 1, 1)
    store.fill_disk()
    save(store, 2, 1)
    assert store.failures == ["step 2: No space left on device"]
    assert store.newest_intact()[0] == 1
    assert [path.name for path in (tmp_path / "00000002").iterdir()] == []


def test_the_injected_damage_is_found(tmp_path) -> None:
    store = Store(tmp_path, "job")
    save(store, 1, 2)
    save(store, 2, 2)
    store.corrupt(1)
    assert store.newest_intact()[0] == 1


def test_in_the_background_the_state_is_that_of_the_call(tmp_path) -> None:
    before = threading.active_count()  # pytest's plugins may have threads
    store, state = Store(tmp_path, "job", background=True), state_of(3)
    expected = {name: array.copy() for name, array in state.items()}
    store.save(3, state, 0, 1)
    state["weights"][:] = 0
    store.wait()
    assert same(store.load(3), expected)
    assert threading.active_count() == before


def test_another_jobs_folder_is_refused(tmp_path) -> None:
    Store(tmp_path, "mine")
    with pytest.raises(UsageError, match="belong to job 'mine'"):
        Store(tmp_path, "yours")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write checkpoints"):
        Store(tmp_path / "file" / "below", "job")


def test_nothing_half_written_is_left_behind(tmp_path) -> None:
    store = Store(tmp_path, "job")
    save(store, 1, 2)
    assert sorted(os.listdir(tmp_path / "00000001")) == ["part-000-of-002", "part-001-of-002"]


@given(cost=st.floats(1e-3, 10.0), mtbf=st.floats(100.0, 1e6))
def test_dalys_interval_is_near_the_least_waste_and_youngs_near_it(cost: float, mtbf: float) -> None:
    best = daly(cost, mtbf)
    assert best == pytest.approx(young(cost, mtbf), rel=0.25)
    here = waste(best, cost, mtbf, 0.0)
    assert here <= waste(best * 2, cost, mtbf, 0.0)
    assert here <= waste(best / 2, cost, mtbf, 0.0)


def test_where_a_checkpoint_costs_more_than_twice_the_mtbf_daly_gives_up() -> None:
    assert daly(10.0, 4.0) == 4.0
    assert in_steps(0.001, 1.0) == 1
    with pytest.raises(UsageError, match="must be > 0"):
        young(0.0, 1.0)
