"""Fault lines, plan files, and what they mean for a job."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from faults.drill.request import Request
from faults.plan.events import describe, resolve
from faults.plan.files import load, read_lines
from faults.plan.grammar import parse
from faults.plan.kinds import KINDS
from faults.plan.model import Event, Target, When

ROOT = Path(__file__).parents[3]
LEGAL = [
    ("kill 3 @ step 20", Target(ranks=(3,)), When(step=20)),
    ("kill host 1 @ step 20", Target(hosts=(1,)), When(step=20)),
    ("kill 3 @ step 20 phase all_gather", Target(ranks=(3,)), When(step=20, phase="all_gather")),
    ("kill 5 @ phase shrink", Target(ranks=(5,)), When(phase="shrink")),
    ("kill 5 @ recovery", Target(ranks=(5,)), When(recovery=True)),
    ("kill 5 @ recovery + 300 us", Target(ranks=(5,)), When(recovery=True, offset_s=300e-6)),
    ("kill 0-2,7 @ step 3 + 1.5ms", Target(ranks=(0, 1, 2, 7)), When(step=3, offset_s=1.5e-3)),
    ("hang 2 @ time 500 ms", Target(ranks=(2,)), When(time_s=0.5)),
    ("hang 2 @ emulated 2 s", Target(ranks=(2,)), When(emulated_s=2.0)),
    ("kill random @ rate 0.1/s", Target(random=True), When(rate_hz=0.1)),
    ("kill random @ rate 6/min", Target(random=True), When(rate_hz=0.1)),
    ("kill random @ rate 2/d", Target(random=True), When(rate_hz=2 / 86400)),
    ("kill 0 @ time 5 years", Target(ranks=(0,)), When(time_s=5 * 31557600.0)),
    ("kill server @ step 3", Target(role="server"), When(step=3)),
    ("flip 3 @ step 5 in message", Target(ranks=(3,)), When(step=5)),
    ("lose nic 3 @ step 5 by 10", Target(ranks=(3,), nic=True), When(step=5)),
    ("cut 0-3|4-7 @ step 10", Target(ranks=(0, 1, 2, 3), others=(4, 5, 6, 7)), When(step=10)),
    ("cut 0>1 @ step 10", Target(ranks=(0,), others=(1,), one_way=True), When(step=10)),
    ("cut host 0|host 1 @ step 10", Target(hosts=(0,), other_hosts=(1,)), When(step=10)),
    ("kill rack 1 @ step 20", Target(hosts=(1,), unit="rack"), When(step=20)),
    ("cut region 0|region 1 @ step 10", Target(hosts=(0,), other_hosts=(1,), unit="region"), When(step=10)),
    ("cut rack 0>7 @ step 10", Target(hosts=(0,), others=(7,), unit="rack", one_way=True), When(step=10)),
]


@pytest.mark.parametrize(("line", "target", "when"), LEGAL)
def test_a_legal_line_says_whom_and_when(line: str, target: Target, when: When) -> None:
    fault = parse(line)
    assert (fault.text, fault.target, fault.when) == (line, target, when)


def test_a_bit_flips_in_memory_unless_the_line_says_in_a_message() -> None:
    kinds = [parse(f"flip 3 @ step 5{where}").kind for where in ("", " in memory", " in message")]
    assert [kind.spoils_state for kind in kinds] == [True, True, False]
    assert [kind.spoils_messages for kind in kinds] == [False, False, True]


@pytest.mark.parametrize(
    ("line", "duration", "factor"),
    [
        ("hang 2 @ step 1 for 2s", 2.0, None),
        ("slow 4 @ step 5 by 4", None, 4.0),
        ("slow 4 @ step 5 by 2.5 for 100 ms", 0.1, 2.5),
        ("slow 4 @ step 5", None, 4.0),
        ("cut 0|1 @ step 5 for 2 s by 3", 2.0, 3.0),
        ("lose 3 @ step 5 by 5 %", None, 0.05),
        ("lose nic 3 @ step 5", None, 10.0),
        ("lose 3 @ step 5 by 1/10", None, 0.1),
        ("lie 5 @ step 0 by -1", None, -1.0),
        ("lie 5 @ step 0 by nan", None, "nan"),
        ("lie 5 @ step 0 by random for 1 min", 60.0, "random"),
    ],
)
def test_modifiers_come_in_any_order_and_have_defaults(line: str, duration: float, factor: float | str) -> None:
    fault = parse(line)
    assert (fault.duration_s, fault.factor) == (duration, factor)


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("kil 3 @ step 20", 1, "expected kill, hang, slow"),
        ("kill @ step 20", 6, "expected a rank"),
        ("kill 3 step 20", 8, "expected @"),
        ("kill 3 @ stp 20", 10, "expected step, phase, recovery, time, emulated or rate"),
        ("kill 3 @ step", 14, "the end of the line"),
        ("kill 3 @ step 20 for 2s", 18, "expected the end of the line"),
        ("kill 7-3 @ step 1", 8, "ends at 7 or later"),
        ("hang 3 @ step 1 for 2", 22, "a unit of time"),
        ("slow 3 @ step 1 by 0.5", 20, "a factor >= 1"),
        ("kill 3 @ rate 0/s", 15, "a rate > 0"),
        ("lie 3 @ step 1 by often", 19, "random or nan"),
        ("lose 3 @ step 1 by 10", 20, "between 0 and 1"),
        ("lose nic 3 @ step 1 by 1/2", 24, ">= 1"),
        ("slow 3 @ step 1 by 4/0", 22, "a number > 0"),
        ("slow 3 @ step 1 by 1e999", 20, "a factor >= 1"),
        ("kill 0-99999999 @ step 2", 8, "the last rank of a range such as 0-3, up to 1000000"),
        ("kill 3 @ time 1e400 s", 15, "a time >= 0 and up to 1e+09 s"),
        ("kill 3 @ time nan s", 15, "a time >= 0"),
        ("kill 3 @ time 1e308 h", 15, "a time >= 0"),
        ("kill 3 @ rate inf/s", 15, "a rate > 0"),
        ("hang 3 @ step 1 for 0 s", 21, "a time above 0"),
        ("cut host 0 @ step 1", 12, "expected | or >"),
        ("", 1, "expected kill"),
        ("flip-message 3 @ step 1", 5, "a rank"),
        ("flip 3 @ step 1 in", 19, "expected memory or message"),
        ("flip 3 @ step 1 in message by 3", 28, "the end of the line"),
        ("kill 3 @ step 1 in message", 17, "the end of the line"),
    ],
)
def test_an_illegal_line_names_the_column_and_the_legal_words(line: str, column: int, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as error:
        parse(line)
    assert f"column {column}:" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", ["cut random @ step 1", "kill nic 3 @ step 1"])
def test_words_that_do_not_go_together_are_refused(line: str) -> None:
    with pytest.raises(UsageError, match="fault"):
        parse(line)


def test_hosts_are_cut_apart_with_all_of_their_ranks() -> None:
    (event, *_) = events = resolve([parse("cut host 0|host 1 @ step 2 for 2 s")], 4, spares=1, hosts=[0, 0, 1, 1, 0])
    assert (event.side, event.others) == ((0, 1, 4), (2, 3))
    assert [event.rank for event in events] == [0, 1, 2, 3, 4]


@given(st.text(alphabet="kilhangsw 0123456789@-|>,.+/%stepforby\n", max_size=40))
def test_any_text_is_read_or_refused_in_one_line(line: str) -> None:
    refused = ""
    try:
        assert parse(line).kind in KINDS.values()
    except UsageError as error:
        refused = str(error)
    assert "\n" not in refused
    assert refused.startswith("fault ") or not refused


def test_a_plan_file_has_lines_and_a_seed(tmp_path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('seed = 7\nfaults = [\n  "kill 3 @ step 20",\n  "hang 2 @ step 5",\n]\n')
    faults, seed = load(file)
    assert [fault.text for fault in faults] == ["kill 3 @ step 20", "hang 2 @ step 5"]
    assert seed == 7
    more, own = read_lines([str(file), "kill 1 @ step 1"])
    assert (len(more), own) == (3, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('faults = [\n "kill 3 @ step 20",\n "kill x @ step 2",\n]', "line 3: fault 'kill x @ step 2', column 6"),
        ("seed = 1\nfault = []", "line 2: a plan has the keys"),
        ("faults = 3", "line 1: faults is a list"),
        ("faults = [", "not TOML"),
        ('seed = "a"', "line 1: seed"),
    ],
)
def test_a_bad_plan_file_is_refused_with_its_line(tmp_path, text: str, said: str) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=re.escape(said)):
        load(file)


def test_a_missing_plan_file_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="cannot read the plan"):
        load(tmp_path / "none.toml")


def test_a_host_dies_with_all_of_its_ranks() -> None:
    events = resolve([parse("kill host 1 @ step 2")], 6, hosts=[0, 0, 1, 1, 2, 2])
    assert [event.rank for event in events] == [2, 3]


def test_a_rack_dies_with_all_of_its_hosts() -> None:
    request = Request("ring", 8, ["kill rack 1 @ step 2"], "shrink", net=str(ROOT / "examples/networks/racks.toml"))
    events = request.spec().events
    assert [(event.rank, event.host) for event in events] == [(4, 1), (5, 1), (6, 1), (7, 1)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kill 8 @ step 1", "outside the job of ranks 0 to 7"),
        ("cut 0|9 @ step 1", "outside the job"),
        ("cut host 0|host 3 @ step 1", "host 3 is outside the job"),
        ("cut 0-3|3-7 @ step 1", "3 is on both"),
        ("cut 0-3|host 0 @ step 1", "0 is on both"),
        ("kill host 4 @ step 1", "host 4 is outside the job"),
        ("kill rack 2 @ step 1", "rack 2 is outside the job, whose racks are 0 to 1"),
        ("kill region 0 @ step 1", "the job's network has no regions"),
        ("kill 3 @ step 40", "outside the run of steps 0 to 39"),
        ("kill server @ step 1", "no server"),
    ],
)
def test_what_the_job_does_not_have_is_refused(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve([parse(line)], 8, steps=40, groups={"rack": [0, 0, 0, 0, 1, 1, 1, 1]})


@given(seed=st.integers(0, 10**6), ranks=st.integers(2, 32))
def test_a_rate_meets_each_rank_once_in_rising_time_and_spares_one(seed: int, ranks: int) -> None:
    faults = [parse("kill random @ rate 2/s")]
    events = resolve(faults, ranks, seed=seed)
    assert events == resolve(faults, ranks, seed=seed)
    victims = [event.rank for event in events]
    assert len(set(victims)) == len(victims) == ranks - 1
    times = [event.when.time_s for event in events]
    assert times == sorted(times)


@given(seed=st.integers(0, 1000))
def test_random_victims_are_never_the_same(seed: int) -> None:
    events = resolve([parse("kill random @ step 1"), parse("kill random @ step 2")], 3, seed=seed)
    assert len({event.rank for event in events}) == 2


@pytest.mark.parametrize("line", [line for line, _, _ in LEGAL if "server" not in line])
def test_every_event_survives_the_way_to_the_ranks_and_can_be_told(line: str) -> None:
    halves = [0, 0, 0, 0, 1, 1, 1, 1]
    for event in resolve([parse(line)], 8, hosts=halves, groups={"rack": halves, "region": halves}):
        assert Event.from_json(event.to_json()) == event
        assert event.kind.name in describe(event)
