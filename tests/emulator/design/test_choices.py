"""What a sheet may name is known wherever it is run or drilled."""

from demos._lib.design import skeleton
from emulator.design.choices import HURRIES, PATTERNS, POLICIES
from faults import policies


def test_every_pattern_has_a_program_and_policies_that_exist():
    assert PATTERNS.keys() == skeleton._PATTERNS.keys()
    assert {name for pattern in PATTERNS.values() for name in pattern.policies} <= POLICIES.keys()
    assert HURRIES == ("backup", "quorum", "drop")


def test_a_policy_means_the_same_in_a_drill():
    for name, policy in POLICIES.items():
        drilled = policies.of(name)
        assert (policy.spares, policy.spawns, policy.replicas, policy.goes_back) == (
            drilled.has_spares, drilled.spawns, drilled.replicas > 1, drilled.relaunches
        )  # fmt: skip
        assert not drilled.refills or policy.refills
