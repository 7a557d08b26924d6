"""Network files: every mistake is one line that names field, value and what is legal."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from emulator.commands.networks import networks
from emulator.errors import UsageError
from emulator.network import load
from emulator.network.files import parse
from tests.emulator.network.reference import reference

LINK = '[link]\nlatency = "50 us"\nbandwidth = "10 Gbit/s"\n'
TWO = '[hosts]\nnames = ["a", "b"]\n'
REGIONS = '[topology]\nkind = "regions"\nnames = ["x", "y"]\n'
SQUARE = 'latency = [["1 ms", "2 ms"], ["2 ms", "1 ms"]]\n'

MISTAKES = {
    "latency = ": "my.toml: not TOML: ",
    'sharing = "fair"': "my.toml: sharing must be 'message' or 'packet', got 'fair'",
    "lnik = 3": "my.toml: there is no field 'lnik' here: did you mean 'link'? Legal: name, description, ",
    "link = 3": "my.toml: link must be a table, got 3",
    '[link]\nlatancy = "1 us"': "my.toml: link: there is no field 'latancy' here: did you mean 'latency'? Legal: ",
    '[link]\nlatency = "50 parsecs"': "link.latency: a time is a number >= 0 with its unit (ns, us, ms, ",
    '[link]\nlatency = "-1 us"': "link.latency: a time is a number >= 0",
    "[link]\nlatency = [1]": "got [1]: write e.g. '50 us'",
    "[link]\nlatency = true": "got True: write e.g. '50 us'",
    "[link]\nlatency = 50": "link.latency: a time is a number >= 0 with its unit",
    '[link]\nlatency = "50"': "got '50': write e.g. '50 us'",
    LINK + '[jitter]\ndistribution = "constant"\nvalue = 5': "value: a time is a number >= 0 with its unit",
    LINK + '[jitter]\ndistribution = "empirical"\nvalues = [1, 2]': "values[0]: a time is a number >= 0 with its unit",
    LINK + '[loss]\nrate = "1 %"\nrto = 1': "loss.rto: a time is a number >= 0 with its unit",
    '[link]\nlatency = "1 us"': 'link.bandwidth is missing: give it, or nic.bandwidth, e.g. bandwidth = "10 Gbit/s"',
    '[nic]\negress = "1 Gbit/s"': "link.bandwidth is missing",
    "[link]\nbandwidth = 5": "link.bandwidth: a bandwidth is a number > 0 in bit/s or B/s with k, M, G or T, got 5: ",
    '[link]\nbandwidth = "0 Gbit/s"': "link.bandwidth: a bandwidth is a number > 0 in bit/s or B/s",
    '[link]\nbandwidth = "5 m"': "got '5 m'",
    LINK + "[hosts]\ncount = 0": "hosts.count must be greater than or equal to 1, got 0",
    LINK + "[hosts]\ncount = 2.5": "hosts.count must be a valid integer, got 2.5",
    LINK + '[hosts]\nplacement = "odd"': "hosts.placement must be 'block' or 'cyclic', got 'odd'",
    LINK + "[hosts]\nslowdown = 0": "hosts.slowdown must be greater than 0, got 0",
    LINK + "[hosts]\nslowdown = inf": "hosts.slowdown must be a finite number, got inf",
    LINK + "[hosts]\nrepeat = true": "hosts.repeat: there are no [[host]] entries to repeat",
    LINK + "[hosts]\ncount = 2\n[[host]]": "hosts.count and [[host]] exclude each other",
    LINK + '[hosts]\nnames = ["a", "a"]': "host.name: 'a' is given to several hosts: names must differ",
    LINK + "host = 3": "link: there is no field 'host' here",
    LINK + "[[host]]\nslowdown = -1": "host[0].slowdown must be greater than 0, got -1",
    LINK + '[[host]]\nrack = "r"': "host.rack: 'r' needs topology.kind 'racks', got 'flat'",
    LINK + REGIONS + SQUARE + '[[host]]\nregion = "z"': "host.region: 'z' is not a region: legal are x, y",
    LINK + "[topology]\nradix = 4": "topology.kind is missing: say which",
    LINK
    + '[topology]\nkind = "rack"': "topology.kind must be one of 'flat', 'racks', 'fat-tree', 'torus', 'regions', ",
    LINK + '[topology]\nkind = "racks"': "topology.uplink: racks need either uplink (a bandwidth) or oversubscription",
    LINK
    + '[topology]\nkind = "racks"\nhosts_per_rack = 0\noversubscription = 2': "topology.hosts_per_rack must be greater",
    LINK + '[topology]\nkind = "fat-tree"\nradix = 3': "topology.radix must be a multiple of 2, got 3",
    LINK
    + '[topology]\nkind = "torus"\ndimensions = [2, 0]': "topology.dimensions[1] must be greater than or equal to 1",
    LINK + "[hosts]\ncount = 5\n" + '[topology]\nkind = "torus"\ndimensions = [2, 2]': "has 4 places, not 5",
    LINK + REGIONS: "topology.latency is missing: give it",
    LINK
    + REGIONS
    + 'latency = [["1 ms", "2 ms"]]': "topology.latency: 2 regions need 2 rows of 2 values, got rows of [2]",
    LINK + REGIONS + 'latency = [["1 ms", "2 m"], ["1 ms", "2 ms"]]': "topology.latency[0][1]: a time is",
    LINK + REGIONS.replace('"y"', '"x"') + SQUARE: "topology.names: the regions x, x must differ",
    TWO + '[topology]\nkind = "links"\nlinks = []': "topology.links must have at least 1 entry, got []",
    TWO
    + '[topology]\nkind = "links"\nlinks = [{between = ["a", "b"]}]': "topology.links[0].bandwidth is missing: give it",
    TWO + '[topology]\nkind = "links"\nlinks = [{between = ["a", "a"], bandwidth = "1 Gbit/s"}]': "got 'a' twice",
    TWO
    + '[topology]\nkind = "links"\nlinks = [{between = ["a", "s"], bandwidth = "1 Gbit/s"}]': "no way from host 'a'",
    LINK + '[jitter]\ndistribution = "gauss"': "jitter.distribution must be one of 'constant', 'uniform', 'normal', ",
    LINK + '[jitter]\ndistribution = "normal"': "jitter.deviation is missing: give it",
    LINK
    + '[jitter]\ndistribution = "uniform"\nlow = "2 us"\nhigh = "1 us"': "jitter.high must not be below jitter.low",
    LINK + '[jitter]\ndistribution = "empirical"': "jitter.values: at least one measured value is needed",
    LINK
    + '[jitter]\ndistribution = "empirical"\nfile = "no.txt"': "jitter.file: 'no.txt' cannot be read: No such file",
    LINK + '[loss]\nrate = "150 %"': "loss.rate: a share lies between 0 % and 100 %, got '150 %'",
    LINK + '[loss]\nrate = "100 %"': "loss.rate: must lie from 0 % to below 100 %, got '100 %'",
    LINK + '[loss]\nrate = "1 %"\nbackoff = 0.5': "loss.backoff must be greater than or equal to 1, got 0.5",
    LINK + '[loss]\nrate = "1 %"\nmtu = 0': "loss.mtu: must be at least 1 byte, got 0",
}


@pytest.mark.parametrize("text", MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line_that_names_it(text):
    with pytest.raises(UsageError) as caught:
        parse(text, "my.toml")
    message = str(caught.value)
    assert MISTAKES[text] in message
    assert message.startswith("my.toml: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("10bge", "there is no network '10bge': did you mean '10gbe'? Legal: 100gbe, 10gbe, "),
        ("no/such.toml", "network file 'no/such.toml' cannot be read: No such file or directory"),
        ("tests/", "cannot be read"),
    ],
)
def test_a_missing_network_says_what_there_is(name, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        load(name)


HOSTS = """
[[host]]
name = "fast"
bandwidth = "10 Gbit/s"
[[host]]
name = "slow"
bandwidth = "2 Gbit/s"
[[host]]
name = "other"
bandwidth = "10 Gbit/s"
"""


def test_uplinks_are_made_of_the_cards_that_the_hosts_have():
    racks = parse(HOSTS + '[topology]\nkind = "racks"\nhosts_per_rack = 2\noversubscription = 4')
    rates = {link.name: 1 / link.beta for link in racks.links}
    assert rates["rack0 up"] == pytest.approx((10e9 + 2e9) / 8 / 4)
    assert rates["rack1 up"] == pytest.approx(2 * 10e9 / 8 / 4)
    with pytest.raises(UsageError, match=r"topology\.bandwidth is missing: the hosts' cards differ"):
        parse(HOSTS + '[topology]\nkind = "fat-tree"')
    alike = parse(HOSTS.replace('"2 Gbit', '"10 Gbit') + '[topology]\nkind = "torus"')
    assert {round(1 / link.beta) for link in alike.links} == {1_250_000_000}


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "net.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is not UTF-8 text"):
        load(str(path))


def test_the_documents_reference_is_the_one_made_from_the_models():
    document = (Path(__file__).parents[3] / "docs" / "networks.md").read_text()
    assert document.partition("a test compares. -->\n\n")[2].strip() == reference().strip()


def test_the_documents_examples_are_legal():
    document = (Path(__file__).parents[3] / "docs" / "networks.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    assert blocks
    for block in blocks:
        parse(block)


def test_the_list_names_every_preset():
    done = CliRunner().invoke(networks, [])
    assert done.exit_code == 0
    assert re.search(r"10gbe +20\.0 us +1\.18 GB/s", done.output)


def test_a_shown_preset_is_a_file_that_means_the_same(tmp_path):
    shown = CliRunner().invoke(networks, ["show", "volunteers"]).output
    (tmp_path / "volunteers.toml").write_text(shown)
    mine, theirs = load(str(tmp_path / "volunteers.toml")), load("volunteers")
    assert mine.sized(9).describe() == theirs.sized(9).describe()


def test_show_of_a_file_points_to_check(tmp_path):
    (tmp_path / "mine.toml").write_text(LINK)
    refused = CliRunner().invoke(networks, ["show", str(tmp_path / "mine.toml")])
    assert "networks check" in str(refused.exception)
    assert "there is no network" not in str(refused.exception)


@pytest.mark.parametrize("name", ["volunteers", "examples/networks/racks.toml", "examples/networks/fat-tree.toml"])
def test_check_prints_hosts_links_and_paths(name):
    where = name if "/" not in name else str(Path(__file__).parents[3] / name)
    done = CliRunner().invoke(networks, ["check", where, "-n", "6"])
    assert done.exit_code == 0, done.output
    assert "latency, bandwidth" in done.output


def test_check_says_what_messages_take_beside_latency_and_bandwidth(tmp_path):
    (tmp_path / "tcp.toml").write_text(
        LINK + '[[link.segment]]\nabove = "64K"\nlatency = "80 us"\nbandwidth = "8 Gbit/s"\n[slow_start]\n'
        '[protocol]\npreset = "openmpi-tcp"\nsend_overhead = "2 us"\n'
    )
    said = " ".join(CliRunner().invoke(networks, ["check", str(tmp_path / "tcp.toml")]).output.split())
    assert "messages that meet share cards and links packet by packet" in said
    assert "messages above 64K have 80.0 us and 1.00 GB/s" in said
    assert "begins with a window of 14480, and again after 1.00 s without a message" in said
    assert "messages above 65472 wait for their receives" in said
    assert "a message keeps its sender busy for 2.00 us" in said


@pytest.mark.parametrize("bandwidth", ["500 Mbit/s", "500 mbit/s", "500 mbps", "500 MBit/s", "62.5 MB/s"])
def test_the_case_of_a_prefix_changes_no_bandwidth(bandwidth):
    """A milli- or microbit per second is nobody's bandwidth."""
    assert parse(f'[link]\nbandwidth = "{bandwidth}"\n', "my.toml").between(0, 1).beta == 16e-9


def test_zero_needs_no_unit():
    assert parse('[link]\nlatency = 0\nbandwidth = "1 GB/s"\n', "my.toml").between(0, 1).alpha == 0
