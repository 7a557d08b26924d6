"""What a sheet may name is known wherever it is run or drilled."""

import re
from pathlib import Path

import pytest

from demos._lib.design import skeleton
from emulator import policies
from emulator.design.choices import HURRIES, PATTERNS, POLICIES
from emulator.units import parse_time


def test_every_pattern_has_a_program_and_policies_that_exist():
    assert PATTERNS.keys() == skeleton._PATTERNS.keys()
    assert {name for pattern in PATTERNS.values() for name in pattern.policies} <= POLICIES.keys()
    assert HURRIES == ("backup", "quorum", "drop")


def test_the_documents_table_is_what_recoveries_are_priced_with():
    page = (Path(__file__).parents[3] / "docs" / "faults.md").read_text()
    (table,) = re.findall(r"^\| policy \| median .*\n\|-.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [line.strip("| ").split("|") for line in table.splitlines()]
    documented = {row[0].strip(): parse_time(row[-1].strip()) for row in rows}
    assert documented == pytest.approx({name: one.seconds for name, one in policies.MEASURED.items()})
