"""Tables and maps at any width: no cell is cut, and what is left out is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.report.model import Column, Map, Table
from tests.emulator.report.widths import fits


def cell_texts():
    return st.text("ab1.%é", max_size=12)


@st.composite
def any_table(draw):
    columns = [
        Column(f"c{index} {draw(st.text('xyz ', max_size=14))}".strip(), priority=draw(st.integers(0, 3)))
        for index in range(draw(st.integers(1, 9)))
    ]
    rows = draw(st.lists(st.lists(cell_texts(), min_size=len(columns), max_size=len(columns)), max_size=4))
    return Table(draw(st.sampled_from(["", "title"])), columns, rows)


@given(any_table(), st.integers(16, 120), st.booleans())
def test_no_table_is_cut_and_no_column_vanishes_without_a_word(table, width, full):
    fits(table, width, full)


def test_a_column_that_may_be_left_out_has_a_name():
    with pytest.raises(ValueError, match="must have a name"):
        Column("", priority=1)
    assert Column("").heading == ""


@given(st.integers(1, 20), st.integers(16, 120))
def test_a_wide_map_goes_on_in_blocks(size, width):
    names = [f"host{index}" for index in range(size)]
    values = [[None if a == b else f"{a}to{b}" for b in range(size)] for a in range(size)]
    fits(Map("bytes", names, names, values), width, False)
