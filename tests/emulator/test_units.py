import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import units
from emulator.errors import UsageError


@given(st.integers(0, 2**40))
def test_a_formatted_size_parses_back(size):
    assert units.parse_size(units.format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "size"), [("8", 8), ("64K", 65536), ("1.5M", 3 << 19), ("2 GiB", 2 << 30), ("1kb", 1024)]
)
def test_sizes_are_powers_of_1024(text, size):
    assert units.parse_size(text) == size


def test_a_range_of_sizes_doubles():
    assert units.parse_sizes("8:64,1K") == [8, 16, 32, 64, 1024]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50 us", 50e-6), ("50us", 50e-6), ("1.5 ms", 1.5e-3), ("2 s", 2), ("1 min", 60), ("0.25", 0.25), (3, 3.0)],
)
def test_times_are_seconds(text, seconds):
    assert units.parse_time(text) == pytest.approx(seconds, rel=1e-15)


def test_bits_and_bytes_are_told_apart():
    assert units.parse_rate("10 Gbit/s") == units.parse_rate("1.25 GB/s") == 1.25e9


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (units.parse_size, "-1"), (units.parse_size, "0.3"), (units.parse_size, "1T"), (units.parse_sizes, "8:4:2"),
        (units.parse_sizes, "0:8"), (units.parse_ranks, "2,x"), (units.parse_ranks, "0"), (units.parse_time, "-1 s"),
        (units.parse_time, "5 m"), (units.parse_time, "inf"), (units.parse_time, "fast"), (units.parse_rate, "10"),
        (units.parse_rate, "0 Gbit/s"), (units.parse_rate, "10 Gb"), (units.parse_fraction, "120 %"),
        (units.parse_fraction, "-0.1"), (units.parse_fraction, "some"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_value(parse, text):
    with pytest.raises(UsageError, match="got"):
        parse(text)


def test_formats_are_read_by_people():
    assert units.format_time(5e-5) == "50.0 us"
    assert units.format_rate(1.25e9) == "1.25 GB/s"
    assert units.parse_fraction("1.5 %") == 0.015
