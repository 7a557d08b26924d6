"""The words of an agreement: any number of ranks, and the bitwise AND of what all say."""

from functools import reduce
from operator import and_

from hypothesis import given
from hypothesis import strategies as st

from faults.protocol import packed, unpacked


@st.composite
def opinions(draw):
    size = draw(st.integers(1, 100))
    rank = st.integers(0, size - 1)
    return size, draw(st.lists(st.tuples(st.integers(0, 15), st.sets(rank, max_size=8)), min_size=1, max_size=8))


@given(opinions())
def test_combined_words_say_what_all_have_in_common(case) -> None:
    size, said = case
    words = [packed(head, dead, size) for head, dead in said]
    assert all(0 <= word < 2**31 for one in words for word in one)
    head, alive = unpacked([reduce(and_, column) for column in zip(*words, strict=True)], size)
    assert head == reduce(and_, (head for head, _ in said))
    assert set(alive) == set(range(size)) - set().union(*(dead for _, dead in said))
