"""Placement: what each policy makes of any deaths."""

from hypothesis import given
from hypothesis import strategies as st

from faults.recover.replacements.placement import Placement


@st.composite
def deaths(draw):
    ranks = draw(st.integers(1, 24))
    spares = draw(st.integers(0, 6))
    dead = draw(st.sets(st.integers(0, ranks + spares - 1)))
    return Placement.begin(ranks, spares), set(range(ranks + spares)) - dead


@given(deaths())
def test_shrink_keeps_every_survivor_in_its_place(case) -> None:
    table, alive = case
    left = table.survivors(alive)
    assert left.places == {place: base for place, base in table.places.items() if base in alive}
    assert left.at_work == sorted(left.at_work)


@given(deaths())
def test_spare_fills_places_as_far_as_it_has_ranks(case) -> None:
    table, alive = case
    left = table.refilled(alive)
    survivors = table.survivors(alive)
    waiting = [base for base in table.waiting if base in alive]
    empty = len(table.places) - len(survivors.places)
    assert survivors.places.items() <= left.places.items()
    assert len(left.places) == len(survivors.places) + min(empty, len(waiting))
    assert set(left.places.values()) | set(left.waiting) == set(alive)
    assert len(set(left.places.values())) == len(left.places)


@given(deaths(), st.randoms())
def test_nobody_is_forgotten_over_any_number_of_deaths(case, dice) -> None:
    table, alive = case
    while alive:
        table = table.refilled(alive)
        assert set(table.places.values()) | set(table.waiting) == alive
        alive = set(alive) - {dice.choice(sorted(alive))}


def test_a_placement_follows_its_ranks_into_a_new_communicator() -> None:
    table = Placement({0: 0, 2: 3, 3: 4}, (5,))
    assert table.moved([0, -1, -1, 1, 2, 3]) == Placement({0: 0, 2: 1, 3: 2}, (3,))


def test_the_programs_ranks_count_the_filled_places() -> None:
    table = Placement.begin(8).survivors(set(range(8)) - {3})
    assert table.at_work == [0, 1, 2, 4, 5, 6, 7]
    assert table.place_of(3) is None
