"""Sheets that are none: one line with file, field, value and what is legal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from emulator.design import Sheet, load, parse, plan, predict, tolerance
from emulator.design.sheets.fields import Slot
from emulator.errors import UsageError
from emulator.network.fields import Section
from tests.emulator.design.sheets import SECTION, sheet


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[consistency]", "[consistncy]", r"'consistncy' here: did you mean 'consistency'\?"),
        (
            'memory = "1000000000 B"',
            'memori = "1 GB"',
            r"no field 'memori' here: did you mean 'memory'\?",
        ),
        ('pattern = "all-reduce"', 'pattern = "allreduce"', r"pattern: must be 'all-reduce', .*got 'allreduce'"),
        ('t_comp = "1 s"', "t_comp = 1", r"job.t_comp: must be a time with its unit.*got 1"),
        ('t_comp = "1 s"', 't_comp = "0 s"', r"job.t_comp: must be a time > 0 s, got '0 s'"),
        ('t_comp = "1 s"', 't_comp = "1 parsec"', r"job.t_comp: .*got '1 parsec'"),
        ('split = "data"', 'split = "data"\nnodes = 0', r"partition.nodes: must be a whole number >= 1, got 0"),
        (
            'of = "model"',
            'of = "modle"',
            r"must name a state or task, got 'modle': did you mean 'model'",
        ),
        ("spread = 0", "staleness = -1", r"job.staleness: must be 0, a number of steps, or \"any\", got -1"),
        ('latency = "400 us"\n', "", r"network: the network is one of"),
        (
            'bytes = "100000000 B"',
            'bytes = "1 KB"\nrows = 9\nrow_bytes = "1 KB"',
            r"state.model: rows x row_bytes must be bytes to 1%.*got 9 x 1000 = 9000 with bytes = 1000: "
            r"write bytes = \"9000 B\", or rows = 1",
        ),
        (
            'bytes = "100000000 B"',
            'bytes = "100 MB"\nrows = 5\nrow_bytes = 3',
            r"got 5 x 3 = 15 with bytes = 100000000: write bytes = \"15 B\", or rows = 33333333",
        ),
        (
            'bytes = "100000000 B"',
            'bytes = "103 MB"\nrows = 1000000\nrow_bytes = 93',  # 101 bytes a row with its key: 1.98 % more
            r"rows x row_bytes must be bytes to 1%",
        ),
        ('bytes = "100000000 B"', 'bytes = "1 KB"\nrow_bytes = 5', r"rows = 0 and row_bytes = 5: give rows as well"),
        ('bytes = "100000000 B"', 'bytes = "1 KB"\nrows = 5', r"rows = 5 and row_bytes = 0: give row_bytes"),
        ('algorithm = "ring"', "servers = 2", r"servers belong to a parameter-server, got 2 with all-reduce"),
        ("[job]", "[job", r"not TOML"),
        ("spread = 0", "spread = 0\nmost = 100000", r"job.most: must be a whole number from 1 to 16384, got 100000"),
        ('memory = "1000000000 B"', 'memory = "0 B"', r"job.memory: must be a size > 0 bytes, got '0 B'"),
        ('t_comp = "1 s"', 't_comp = "1e300 h"', r"job.t_comp: must be a time of at most 1000 years, got '1e300 h'"),
        ("spread = 0", 'mtbf = "2000 years"', r"job.mtbf: must be a time of at most 1000 years, got '2000 years'"),
        ("spread = 0", "spread = 11", r"job.spread: must be a number from 0 to 10, got 11"),
        ("[partition]", "[hardware]\ngpus = 3\n[partition]", r"mine.toml: there is no table 'hardware' here"),
        ('split = "data"', 'split = "data"\nnodes = 1.5', r"partition.nodes: must be a whole number >= 1, got 1.5"),
        ('bytes = "100000000 B"', 'bytes = "many"', r"state.model.bytes: a size is a number of bytes"),
        ('name = "model"', "name = 3", r"state number 1.name: must be a name in quotes, got 3"),
        ('of = "model"', 'of = "model"\nevery = 0', r"communication.model.every: must be a whole number >= 1, got 0"),
        ('t_comp = "1 s"\n', "", r"job.t_comp is missing: give it; it must be a time with its unit, such as '250 ms'"),
        ('split = "data"', "", r"partition.split is missing: give it; it must be 'data', 'model' or 'work'"),
        ('of = "model"\n', "", r"communication number 1.of is missing: give it; it must be a text in quotes"),
        ("[job]", "[job_]", r"there is no table 'job_' here"),
        ('split = "data"', 'split = "data"\nwhy = 3', r"partition.why must be a text in quotes, got 3"),
        ('split = "data"', 'split = "data"\nreplicated = 3', r"partition.replicated must be a list such as .*, got 3"),
        ('name = "section"', 'name = ""', r"job.name: must be a name in quotes, got ''"),
    ],
)
def test_bad_sheets_are_refused_in_one_line(old, new, said):
    assert old in SECTION
    with pytest.raises(UsageError, match=said) as error:
        parse(SECTION.replace(old, new), "mine.toml")
    assert str(error.value).startswith("mine.toml: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("row_bytes", [101, 100, 93, 92])
def test_sizes_of_a_table_agree_to_a_percent_with_or_without_keys(row_bytes):
    table = f"rows = 1000000\nrow_bytes = {row_bytes}"
    assert parse(SECTION.replace('bytes = "100000000 B"', f'bytes = "100 MB"\n{table}')).state[0].rows == 1000000


def test_the_document_names_every_field():
    """Required and optional fields of each table, as the model has them."""
    text = (Path(__file__).parents[3] / "docs" / "design.md").read_text(encoding="utf-8")
    section = text.split("## The sheet's fields\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    said = {row[0]: [set(re.findall(r"`(\w+)`", cell)) for cell in row[1:]] for row in rows[1:]}
    expected = {}
    for name, field in Sheet.model_fields.items():
        kinds = [one for one in (*get_args(field.annotation), field.annotation) if isinstance(one, type)]
        table = next((one for one in kinds if issubclass(one, Section)), None)
        if table is None:
            assert f"`{name}` stands above all tables" in section
            continue
        fields = table.model_fields.items()
        required = {one.alias or key for key, one in fields if one.is_required()}
        slot = {"why", "rejected"} if issubclass(table, Slot) else set()
        expected[name] = [required, {one.alias or key for key, one in fields} - required - slot]
    assert said == expected


def test_an_empty_sheet_says_what_the_first_table_needs():
    with pytest.raises(UsageError, match=r"job is missing: give it: a table \[job\] with name, t_comp, memory"):
        parse("")


def test_a_network_file_is_named_without_detours(tmp_path):
    """A path is shortened where that names the same file, not behind a symbolic link."""
    for folder in ("sheets", "nets", "far/away"):
        (tmp_path / folder).mkdir(parents=True)
    for place in ("nets/own.toml", "far/own.toml"):
        (tmp_path / place).write_text('[link]\nlatency = "77 us"\nbandwidth = "1 Gbit/s"\n')
    own = SECTION.replace('latency = "400 us"\nbandwidth = "20 Gbit/s"', 'file = "../nets/own.toml"')
    assert parse(own, str(tmp_path / "sheets/mine.toml")).network.file == str(tmp_path / "nets/own.toml")
    (tmp_path / "link").symlink_to(tmp_path / "far/away")
    linked = parse(own.replace("../nets/", "../"), str(tmp_path / "link/mine.toml")).network.file
    assert linked == str(tmp_path / "link/../own.toml")


def test_a_missing_file_and_an_unknown_network():
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load("nowhere.toml")
    with pytest.raises(UsageError, match=r"network\.preset: there is no network '26gbe': did you mean"):
        tolerance(sheet('network.preset="26gbe"'))


def test_more_nodes_than_can_be_had_are_refused_but_for_the_planner():
    with pytest.raises(UsageError, match=r"partition.nodes must be at most job.most = 8, got 16"):
        predict(sheet("job.most=8"))
    assert plan(sheet("job.most=8")).winner.nodes <= 8


def test_slots_may_be_empty_for_the_planner_only():
    bare = parse(SECTION.split("[partition]")[0])
    assert not bare.complete
    with pytest.raises(UsageError, match="all six slots must be filled, partition"):
        bare.must_be_complete()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("consistency", "a change is TABLE.FIELD=VALUE"),
        ("communication.nothing.pattern=gossip", "communication has no 'nothing'. Legal: dense, table"),
        ("consistency.modle=bounded", "did you mean 'model'"),
        ("consistency.bounded.bound=2", "consistency is one table, and a change of it is TABLE.FIELD=VALUE"),
    ],
)
def test_bad_changes_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        sheet(change)


def test_a_change_of_what_is_no_table_is_refused():
    with pytest.raises(UsageError, match="program is a value of its own"):
        parse('program = "demos.cases.rag"\n' + SECTION, changes=("program.name=x",))


def test_margins_of_the_section():
    """Half as many nodes at four times the latency: p* goes with the root of T_comp / alpha."""
    found = {one.fact: one for one in tolerance(parse(SECTION))}
    assert set(found) == {"alpha", "beta"}
    assert found["alpha"].nodes is not None
    assert found["alpha"].nodes < 2
