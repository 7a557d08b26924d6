"""At most one side of a network that is cut in two has a quorum, and one has, whatever the sides."""

from hypothesis import given
from hypothesis import strategies as st

from faults.agree.quorum import has_quorum


@given(st.sets(st.integers(0, 40), min_size=1), st.data())
def test_exactly_one_of_two_sides_goes_on(members: set[int], data: st.DataObject) -> None:
    side = data.draw(st.sets(st.sampled_from(sorted(members))))
    assert has_quorum(side, members) != has_quorum(members - side, members)


def test_more_than_half_goes_on_and_of_two_halves_the_one_with_the_lowest_rank() -> None:
    assert has_quorum({2, 3, 4}, range(5))
    assert not has_quorum({0, 1}, range(5))
    assert has_quorum({1, 5}, {1, 2, 3, 5})
    assert not has_quorum({0, 2, 3}, {1, 2, 3, 5}), "a rank that is no member counts for nothing"
