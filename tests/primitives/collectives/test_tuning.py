"""Measured terms out of saved results, and that they have the last word."""

import pytest

from emulator import results
from emulator.errors import UsageError
from primitives.collectives.tuning import SHARED_MEMORY, Terms, automatic, choose, set_terms, terms_from
from tests.ranks import on_ranks


def fitted(level, pattern, alpha, beta, gamma=None):
    terms = {"alpha": {"value": alpha}, "beta": {"value": beta}, "gamma": None if gamma is None else {"value": gamma}}
    return {"level": level, "pattern": pattern, **terms}


def a_result(fits, ranks=2, cores=4, **changes):
    made = results.new("ring", ["python"], ranks=ranks)
    made["environment"] |= {"cores": cores, "oversubscription": ranks / cores}
    return {**made, "fits": fits, **changes}


LINK = fitted("link", "link", 1e-6, 1e-10)
TREE, RING = fitted("collective", "tree", 5e-6, 5e-10, 3e-10), fitted("collective", "ring", 4e-6, 4e-10, 2e-10)


@pytest.mark.parametrize(
    ("fits", "terms"),
    [
        ([LINK, TREE, RING], Terms(4e-6, 4e-10, 2e-10)),
        ([LINK, TREE], Terms(5e-6, 5e-10, 3e-10)),
        ([LINK, fitted("link", "link", 3e-6, 5e-11)], Terms(3e-6, 1e-10, SHARED_MEMORY.gamma)),
    ],
)
def test_a_collective_counts_before_a_link_and_of_links_the_slowest(fits, terms):
    assert terms_from(a_result(fits)) == terms


def test_ranks_that_shared_cores_are_told_of(tmp_path):
    results.save(a_result([LINK, RING], ranks=16, cores=2), tmp_path / "result.json")
    for source in (tmp_path, tmp_path / "result.json", str(tmp_path)):
        assert terms_from(source) == Terms(4e-6, 4e-10, 2e-10, cores=2)


def test_on_an_emulated_network_every_rank_has_a_core_and_reducing_is_free():
    crowded = a_result([LINK], ranks=16, cores=2, clock="emulated")
    assert terms_from(crowded) == Terms(1e-6, 1e-10, 0.0)


def test_a_result_without_terms_is_refused():
    with pytest.raises(UsageError, match=r"demos\.ring and demos\.links, got one of demos\.ring without any"):
        terms_from(a_result([fitted("collective", "incast", 1e-6, 1e-9)]))


@on_ranks(4)
def test_terms_that_were_set_are_not_overruled(comm):
    large = 64 << 20
    dear = Terms(alpha=1.0, beta=1e-12, gamma=1e-12)
    set_terms(comm, dear)
    assert automatic(comm, large) == choose(4, large, 1.0, 1e-12, 1e-12) == "recursive_doubling"
    set_terms(comm, None)
