"""What counts as agreement of an output with a document, and how the document is renewed."""

from __future__ import annotations

import pytest

from scripts.docs.agree import differs, lines_of, renewed, shape

SHOWN = ["phase    takes", "detect  1.20 ms  ███", "total   22.4 ms", "1 of 1 recovered"]
LATER = ["phase    takes", "detect   980 us  █", "total   9.1 ms", "1 of 1 recovered"]


def test_figures_agree_exactly_but_where_they_were_timed():
    assert differs(SHOWN, SHOWN, timed=False) is None
    assert differs(SHOWN, LATER, timed=False)
    assert differs(SHOWN, LATER, timed=True) is None


@pytest.mark.parametrize(
    "changed",
    [
        ["phase    lasts", *SHOWN[1:]],
        SHOWN[:-1],
        [*SHOWN, "one more"],
        ["one more", *SHOWN],
        [SHOWN[0], *SHOWN[2:]],
        [*SHOWN[:3], "1 of 1 lost"],
        [],
    ],
)
def test_words_headings_and_lines_agree_where_figures_were_timed(changed):
    assert differs(SHOWN, changed, timed=True)


@pytest.mark.parametrize(
    "expected",
    [["..."], ["...", *SHOWN[2:]], [*SHOWN[:2], "..."], [SHOWN[0], "...", SHOWN[3]], ["...", SHOWN[1], "..."]],
)
def test_three_points_stand_for_any_lines(expected):
    assert differs(expected, SHOWN, timed=False) is None
    assert renewed(expected, LATER) == [LATER[SHOWN.index(line)] if line != "..." else line for line in expected]


@pytest.mark.parametrize("expected", [["...", SHOWN[2]], [SHOWN[1], "..."], [SHOWN[3], "...", SHOWN[0]]])
def test_lines_that_nothing_stands_for_must_be_shown(expected):
    assert differs(expected, SHOWN, timed=False)


def test_an_empty_line_is_no_end_of_an_output():
    printed = ["head", "", *SHOWN, "", "foot"]
    assert differs(["...", *SHOWN, "..."], printed, timed=False) is None
    assert differs([*SHOWN, "..."], printed, timed=False)
    assert differs(["...", *SHOWN], printed, timed=False)


def test_what_has_no_counterpart_is_left_to_an_editor():
    with pytest.raises(ValueError, match="no line is like"):
        renewed(["...", "median of the readings"], ["x"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a 12.0 ms ████ b", "a    980 us █ b"),
        ("[2775, 3394]  -6.8 %", "[10,553, 12,416]  +27 %"),
        ("R(p) 0.10 1e-05", "R(p) 12.3 2.5e-07"),
        ("alpha 20.0 us, 3", "alpha 1 s, -"),
    ],
)
def test_a_shape_has_no_figures(one, other):
    assert shape(one) == shape(other)


@pytest.mark.parametrize(("one", "other"), [("p99", "p95"), ("time us", "time ms"), ("step 3 ok", "step 3 failed")])
def test_a_shape_has_the_words(one, other):
    assert shape(one) != shape(other)


def test_only_the_number_of_repetitions_may_differ_where_figures_are_exact():
    shown = ["bytes  #wrong   n", "    8       0  36", "", "messages  40"]
    assert differs(shown, [shown[0], "    8       0  12", *shown[2:]], timed=False) is None
    assert differs(shown, [*shown[:3], "messages  41"], timed=False)
    assert differs(shown, [shown[0], "    8       1  36", *shown[2:]], timed=False)


def test_an_interval_takes_repetitions_which_a_busy_machine_may_not_reach():
    shown = ["bytes  time us  95 % interval   n", "    8    300.0     [300, 300]  36"]
    busy = ["bytes  time us  95 % interval  n", "    8    300.0              -  1"]
    assert differs(shown, busy, timed=False) is None
    assert differs(shown, [busy[0], busy[1].replace("300.0", "300.1")], timed=False)


def test_an_output_has_no_empty_ends():
    assert lines_of("\n\na  \n\nb\n\n") == ["a", "", "b"]
