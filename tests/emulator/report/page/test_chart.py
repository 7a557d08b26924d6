"""Charts: texts of ticks that neither touch nor leave the chart, curves that can be told apart, units of times."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.report.model import Axis, Curve, Series
from emulator.report.page import chart
from emulator.report.page.scales import LETTER, LINE, Scale, labels
from emulator.units import format_time


@given(st.floats(1e-9, 1e6), st.floats(1.01, 1e6), st.booleans(), st.booleans(), st.floats(120, 480))
def test_texts_of_ticks_never_touch(low, factor, log, upright, length):
    scale = Scale(Axis("time", "s", log=log), low, low * factor, 0.0, length)
    found = labels(scale, upright)
    assert len(found) == len(scale.ticks())
    for (here, one), (there, other) in pairwise([(place, text) for place, text in found if text]):
        assert abs(there - here) >= (LINE if upright else LETTER * (len(one) + len(other)) / 2)


def test_the_text_of_the_last_tick_ends_at_the_edge():
    drawn = "".join(chart.across(Scale(Axis("nodes"), 0.0, 4096.0, 60.0, chart.WIDTH - 4.0), 0.0, 100.0))
    ends = re.findall(r'x="([\d.]+)" y="117" text-anchor="end">(\d+)<', drawn)
    assert ends == [(str(chart.WIDTH - 1), "4000")]


def test_a_second_round_of_the_colours_is_dashed():
    curves = [Curve(str(number), [1, 2], [1, 2], style="line") for number in range(10)]
    drawn = chart.draw(Series("many", "many", Axis("x"), Axis("y"), curves))
    assert re.findall(r'class="curve (s\d(?: again)?)"', drawn) == [f"s{n}" for n in range(8)] + [
        "s0 again",
        "s1 again",
    ]


def test_long_times_have_their_marks_at_minutes_and_hours():
    axis = Axis("interval", "s", log=True, form=format_time)
    assert [text for _, text in Scale(axis, 1500.0, 40_000.0, 60.0, 460.0).ticks()] == [
        "30 min", "60 min", "120 min", "5 h", "10 h",
    ]  # fmt: skip
    assert [text for _, text in Scale(axis, 0.01, 200.0, 60.0, 460.0).ticks()][:2] == ["10 ms", "100 ms"]


@pytest.mark.parametrize(
    ("seconds", "unit", "shown"),
    [([2.0, 0.1], "s", "2"), ([0.002], "ms", "2"), ([3e-6, None], "us", "3"), ([4e-9], "ns", "4"), ([0.0], "s", "0")],
)
def test_an_axis_of_times_has_the_unit_of_its_largest(seconds, unit, shown):
    axis = Axis.time("took", seconds)
    assert (axis.label, axis.write(seconds[0])) == (f"took, {unit}", shown)
