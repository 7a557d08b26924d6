"""The sheets of the tests: example B, with fields changed."""

from __future__ import annotations

from pathlib import Path

from emulator.design import Sheet, load

CASES = Path(__file__).parents[3] / "demos" / "cases"


def sheet(*changes: str, name: str = "example_b") -> Sheet:
    """A sheet of demos/cases with fields replaced."""
    return load(CASES / f"{name}.toml", changes)


SECTION = """
[job]
name = "section"
t_comp = "1 s"
memory = "1000000000 B"
spread = 0
[[state]]
name = "model"
bytes = "100000000 B"
[network]
latency = "400 us"
bandwidth = "20 Gbit/s"
[partition]
split = "data"
[[communication]]
pattern = "all-reduce"
of = "model"
algorithm = "ring"
[consistency]
model = "synchronous"
[coordination]
control = "central"
data = "decentralized"
if_lost = "restart"
[fault_tolerance]
policy = "restart"
[load_balancing]
sharding = "even"
"""
"""The section's figures: 0.8 ms for both passes of a hop, 40 ms to move the model once."""
