"""The patterns that run under SMPI and on simulated ranks: the same ones, with the times of their closed forms here."""

import re
from pathlib import Path

import pytest

from bench import _smpi
from emulator.network import files

ALPHA, BETA = 50e-6, 8e-10


def test_both_programs_have_the_same_patterns():
    text = Path(_smpi.__file__).with_name("smpi.c").read_text()
    assert re.findall(r"PATTERN\((?!name)(\w+)\)", text) == list(_smpi._ASKING)


@pytest.mark.parametrize("protocol", _smpi._PROTOCOL)
def test_patterns_take_their_closed_form(protocol):
    p, size = 4, 100_000
    link = files.section("link", ALPHA, BETA)
    network = files.parse(f'sharing = "packet"\n{link}{_smpi._PROTOCOL[protocol]}')
    eager, n = protocol == _smpi._EAGER, size * BETA
    expected = {
        "ping_pong": 2 * (ALPHA + n),
        "exchange": ALPHA + n,
        "ring": 2 * (p - 1) * (ALPHA + n),
        "doubling": 2 * (ALPHA + n),
        "all_to_all": (p - 1) * (ALPHA + n),
        "incast": ALPHA + (p - 1) * n,
        "outcast": ALPHA + (p - 1) * n,
        "chain": (p - 1) * (ALPHA + n),
        "incast_in_turns": (1 if eager else p - 1) * ALPHA + (p - 1) * n,
        "late_receiver": _smpi._LATE_S + (0 if eager else ALPHA + n),
    }
    if not eager:
        expected = {name: seconds + _smpi._ASKING[name](p) * ALPHA for name, seconds in expected.items()}
    assert _smpi.measure(p, size, network) == pytest.approx(expected, rel=1e-9)
