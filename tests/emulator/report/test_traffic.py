"""The traffic report shows every byte once and names what was busiest."""

import pytest

from emulator.report import terminal
from emulator.report.views import run as traffic
from tests.ranks import on_ranks


def text_of(*items):
    return "\n".join("".join(text for text, _ in line) for line in terminal.lines(items, 140))


def made(busy, hosts=3, seconds=2.0):
    pairs = [
        {"from": f"host{a}", "to": f"host{b}", "messages": 2, "bytes": 1000 * (a + 1)}
        for a in range(hosts)
        for b in range(hosts)
        if a != b
    ]
    resources = [
        {"name": f"host{i} out", "messages": 4, "bytes": 2000 * (i + 1), "busy": busy / (i + 1)} for i in range(hosts)
    ]
    count, size = (sum(pair[key] for pair in pairs) for key in ("messages", "bytes"))
    return {"seconds": seconds, "messages": count, "bytes": size, "pairs": pairs, "resources": resources}


def test_the_matrix_has_every_pair_and_a_dot_for_none():
    lines = text_of(traffic.pairs(made(1.0)["pairs"])).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["from", "\\", "to", "host0", "host1", "host2"],
        ["host0", ".", "1,000", "1,000"],
        ["host1", "2,000", ".", "2,000"],
        ["host2", "3,000", "3,000", "."],
    ]


def test_the_map_of_eight_hosts_with_many_bytes_fits_80_columns_in_mb():
    pairs = [{"from": f"host{a}", "to": f"host{b}", "messages": 1, "bytes": 32_000_000 + a}
             for a in range(8) for b in range(8) if a != b]  # fmt: skip
    lines = ["".join(text for text, _ in line) for line in terminal.lines([traffic.pairs(pairs)], 80)]
    assert lines[0] == "MB from host to host"
    assert len(lines) == 10
    assert lines[2].split() == ["host0", ".", *["32"] * 7]


def test_hosts_are_in_the_order_of_their_numbers():
    heading = text_of(traffic.pairs(made(1.0, hosts=12)["pairs"])).splitlines()[1]
    assert heading.split()[3:] == [f"host{i}" for i in range(12)]


def test_many_hosts_give_the_largest_pairs_only():
    text = text_of(traffic.pairs(made(1.0, hosts=20)["pairs"]))
    assert "Largest 12 of 380 pairs" in text
    assert text.splitlines()[2].split() == ["host19", "host0", "2", "20,000"]


def test_resources_beyond_the_limit_are_summed_up():
    whole = made(1.0, hosts=5)
    lines = text_of(traffic.resources(whole["resources"], 2.0, most=3)).splitlines()
    assert lines[2].split() == ["host0", "out", "4", "2,000", "1.00", "s", "50", "%"]
    assert lines[-1].split() == ["2", "more", "8", "18,000"]


@pytest.mark.parametrize(
    ("busy", "words"), [(1.8, "(90 %); it sets the pace"), (0.4, "part of the time"), (0.001, "no bandwidth is short")]
)
def test_the_busiest_resource_is_named_with_its_share(busy, words):
    said = traffic.busiest(made(busy))
    assert said.startswith("busiest: host0 out, ")
    assert words in said


def test_a_run_without_messages_says_just_that():
    nothing = {"seconds": 0.0, "messages": 0, "bytes": 0, "pairs": [], "resources": []}
    assert list(traffic.view({"traffic": nothing})) == ["emulated time: 0 s; 0 messages, 0 bytes"]


@on_ranks(4, net="examples/networks/multicore.toml", size=[0, 5000])
def test_the_report_of_a_real_run_counts_every_message(comm, size):
    comm.align()
    comm.engine.reset_counts()
    if comm.rank == 0:
        for destination in range(4):
            comm.Isend(bytes(size), destination)
    comm.Recv(bytearray(size), 0)
    found = comm.traffic()
    said = found.describe(comm.engine.network)
    assert (said["messages"], said["bytes"]) == (4, 4 * size)
    assert f"4 messages, {4 * size:,} bytes" in text_of(*traffic.view({"traffic": said}))
