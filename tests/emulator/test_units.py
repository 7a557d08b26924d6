import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import units
from emulator.design.sheets import descriptions
from emulator.errors import UsageError


@given(st.integers(0, 2**40))
def test_a_formatted_size_parses_back(size):
    assert units.parse_size(units.format_size(size)) == size


@given(st.floats(1e-30, 1e30), st.integers(1, 9))
def test_a_formatted_time_parses_back(seconds, digits):
    assert units.parse_time(units.format_time(seconds, digits)) == pytest.approx(seconds, rel=5.1 * 10**-digits)


@given(st.floats(1e-30, 1e30))
def test_a_formatted_rate_parses_back(rate):
    assert units.parse_rate(units.format_rate(rate)) == pytest.approx(rate, rel=5.1e-3)


@given(st.floats(0, 2**61))
def test_a_size_in_words_parses_back(size):
    assert units.parse_size(descriptions.size(round(size))) == pytest.approx(size, rel=5.1e-2, abs=0.5)


SIZES = {
    "8": 8, "8 B": 8, "64K": 65536, "64k": 65536, "1.5M": 3 << 19, "2G": 2 << 30,
    "64KiB": 65536, "64 kib": 65536, "1 MiB": 1 << 20, "2 GiB": 2 << 30,
    "1kB": 1000, "1KB": 1000, "1 kb": 1000, "350MB": 350 * 10**6, "350 mb": 350 * 10**6,
    "1.5 GB": 15 * 10**8, "1e6": 10**6, "2 TB": 2 * 10**12, "1T": 1 << 40, "1 TiB": 1 << 40,
}  # fmt: skip
RATES = {
    "10 Gbit/s": 1.25e9, "1.25 GB/s": 1.25e9, "10gbit/s": 1.25e9, "10 Gb/s": 1.25e9, "10 Gbps": 1.25e9,
    "500 mbit/s": 62.5e6, "500 Mbit/s": 62.5e6, "500 mbps": 62.5e6, "500 Mbps": 62.5e6, "500 mb/s": 62.5e6,
    "500 MBit/s": 62.5e6, "500 Mbits/s": 62.5e6, "500 MB/s": 5e8, "500 mB/s": 5e8, "500 MBps": 5e8, "5 Mbytes/s": 5e6,
    "8 kbit/s": 1e3, "8 Kbit/s": 1e3, "8 bit/s": 1, "8 bps": 1, "8 B/s": 8, "1 TB/s": 1e12, "1 tbit/s": 125e9,
    "1 MiB/s": 1 << 20, "1 Gibit/s": 1 << 27, "1e3 bit/s": 125, ".5 Gbit/s": 62.5e6,
}  # fmt: skip
TIMES = {
    "500 ps": 5e-10, "3 ns": 3e-9, "50 us": 50e-6, "50us": 50e-6, "50 µs": 50e-6, "1.5 ms": 1.5e-3, "2 s": 2,
    "2 sec": 2,
    "1 second": 1, "90 seconds": 90, "1 min": 60, "10 minutes": 600, "1 h": 3600, "2 hours": 7200, "1 d": 86400,
    "1 day": 86400, "2 days": 172800, "1 week": 604800, "1 year": 31557600, "5 years": 157788000,
    "0": 0, "0 s": 0, 0: 0,
    "1e-3 s": 1e-3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse, text, value)
        for parse, table in ((units.parse_size, SIZES), (units.parse_rate, RATES), (units.parse_time, TIMES))
        for text, value in table.items()
    ],
)
def test_every_spelling_of_a_unit_is_exact(parse, text, value):
    assert parse(text) == value


def test_a_range_of_sizes_doubles():
    assert units.parse_sizes("8:64,1K") == [8, 16, 32, 64, 1024]


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *((units.parse_size, text) for text in (
            "-1", "0.3", "1P", "1 Mb", "1 Tb", "8 b", "1 Mbit", "K", "1 iB", "1e40", "nan",
        )),
        *((units.parse_sizes, text) for text in ("8:4:2", "0:8")),
        *((units.parse_ranks, text) for text in ("2,x", "0")),
        *((units.parse_time, text) for text in (
            "-1 s", "5 m", "inf", "fast", "50", 50, 0.25, "0.25", "1e400 s", "1 Ms", "5 S", "s", "1 s 2", "true",
        )),
        *((units.parse_rate, text) for text in (
            "10", "0 Gbit/s", "10 Gb", "10 Gbit", "10 GB", "1 bit", "1 GBPS", "-1 bit/s",
            "10 nbit/s", "10 ubit/s", "1 i/s", "",
        )),
        *((units.parse_fraction, text) for text in ("120 %", "-0.1", "some")),
    ],
)  # fmt: skip
def test_what_has_no_unit_or_makes_no_sense_is_refused_with_the_value(parse, text):
    with pytest.raises(UsageError, match="got"):
        parse(text)


def test_formats_are_read_by_people():
    assert units.format_time(5e-5) == "50.0 us"
    assert units.format_rate(1.25e9) == "1.25 GB/s"
    assert units.parse_fraction("1.5 %") == 0.015


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.99999, "1.00 s"),
        (999.4, "999 s"),
        (999.96, "16.7 min"),
        (4e4, "11.1 h"),
        (1e-9, "1.00 ns"),
        (-2e-3, "-2.00 ms"),
        (1e20, "1.00e20 s"),
    ],
)
def test_a_time_has_three_digits_and_a_prefix(seconds, text):
    assert units.format_time(seconds) == text
