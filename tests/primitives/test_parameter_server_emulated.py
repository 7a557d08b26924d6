"""The same servers and workers on an emulated network."""

from __future__ import annotations

from typing import Any

from tests.primitives.parameter_server_training import ROLES, check_bit_equal
from tests.ranks import on_ranks


@on_ranks(4, net="10gbe", emulation={"pace": "none", "compute": "none"}, roles=list(ROLES), update=["momentum"])
def test_bsp_on_an_emulated_network(comm: Any, roles: str, update: str) -> None:
    check_bit_equal(comm, roles, update, "range")
