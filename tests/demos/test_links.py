"""The links demo: every pair is met, a heterogeneous network comes back out of it, a real one gets its figures."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from demos.links import _conclude, _jobs, main, tournament
from demos.ring import main as ring
from emulator import network, results, sim
from emulator.measure import microbenchmarks, network_file
from emulator.measure.series import Job, Series
from emulator.measure.terms import fit_run
from emulator.network import files
from emulator.units import parse_sizes
from tests.demos.launched import refuse, run_demo, simulate_demo
from tests.ranks import on_ranks

ONE_LINK = "tests/data/one_link.toml"
HETEROGENEOUS = """
[link]
latency = "50 us"
bandwidth = "10 Gbit/s"

[[host]]
name = "quick"

[[host]]
name = "far"
latency = "200 us"

[[host]]
name = "slow"
egress = "1 Gbit/s"
ingress = "2 Gbit/s"
"""


@given(st.integers(2, 40))
def test_a_tournament_meets_every_pair_once_in_rounds_without_conflict(ranks):
    rounds = list(tournament(ranks))
    assert sorted(itertools.chain.from_iterable(rounds)) == list(itertools.combinations(range(ranks), 2))
    for pairs in rounds:
        busy = list(itertools.chain.from_iterable(pairs))
        assert len(busy) == len(set(busy))


@pytest.fixture(scope="module")
def heterogeneous(tmp_path_factory):
    folder = tmp_path_factory.mktemp("links")
    file = folder / "net.toml"
    file.write_text(HETEROGENEOUS)
    return file, simulate_demo(
        "links", 3, folder / "run", "--net", str(file), "--sizes", "8,1K,64K,1M", "--budget", "2"
    )


def test_a_heterogeneous_matrix_comes_back_in_both_directions(heterogeneous):
    file, done = heterogeneous
    assert done.status == 0, done.text
    paths = network.load(str(file)).sized(3)
    fits = {(fit["source"], fit["destination"]): fit for fit in done.result["fits"]}
    assert len(fits) == 6
    for (source, destination), fit in fits.items():
        path = paths.between(source, destination)
        assert fit["alpha"]["value"] == pytest.approx(path.alpha, rel=1e-4)
        assert fit["beta"]["value"] == pytest.approx(path.beta, rel=1e-4)
    assert fits[0, 2]["beta"]["value"] < 0.6 * fits[2, 0]["beta"]["value"]
    assert "12 of 12 configured terms recovered within 1 %: PASS" in done.text


def test_maps_show_every_direction(heterogeneous):
    _, done = heterogeneous
    lines = done.text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("alpha from rank"))
    assert lines[start + 2].split() == ["0", ".", "250us", "50.0us"]


def test_the_machines_own_links_get_figures(tmp_path):
    done = run_demo("links", 3, tmp_path, "--sizes", "8:64K", "--budget", "0.4")
    assert done.status == 0, done.text
    result = done.result
    assert {(fit["source"], fit["destination"]) for fit in result["fits"]} == {(0, 1), (0, 2), (1, 2)}
    assert all(row["wrong"] == 0 for row in result["measurements"])


def test_links_and_ring_measure_and_fit_a_link_alike():
    """So that the alpha of one link is the same wherever it is printed."""
    defaults = [next(one.default for one in command.params if one.name == "sizes") for command in (main, ring)]
    sizes, same = (microbenchmarks.link_sizes(parse_sizes(text), seed=0) for text in defaults)
    assert sizes == same
    rng = np.random.default_rng(0)
    series = [
        Series(Job("link", 2, n, (0, 1), labels={"source": 0, "destination": 1}), [t, t * 1.1, t * 0.9] * 4, [0.0] * 12)
        for n in sizes
        for t in [(2e-6 + n * (1e-10 if n < 4096 else 3e-10)) * rng.uniform(0.95, 1.05)]
    ]
    run = SimpleNamespace(network=None, seed=0, samples=[], fits=[], measurements=[], extra={}, failures=[])
    run.result = {"environment": {"mpi": "MPICH 4"}}
    _conclude(run, series, {(0, 1)}, ["here", "here"])
    expected = fit_run(series, [], itemsize=4).records()[0]
    assert [run.fits[0][name] for name in ("alpha", "beta")] == [expected[name] for name in ("alpha", "beta")]
    assert expected["alpha"]["value"] == pytest.approx(2e-6, rel=0.1)


@on_ranks(3)
def test_each_pair_is_divided_by_its_own_trips(comm):
    """On every rank alike: rank 0 divides also what the others have measured."""
    run = SimpleNamespace(comm=comm, rank=comm.rank, size=comm.size, sizes=[8, 1024, 65536], seed=0, network=None)
    jobs, examples = _jobs(run, ["here"] * 3, list(tournament(3)))
    assert {job.members for job in jobs} == {(0, 1), (0, 2), (1, 2)}
    for job in jobs:
        assert job.parts == (2 * 50 if job.bytes < 4096 else 2 * ((1 << 18) // job.bytes)), job.bytes
        assert (job.once is None) == (comm.rank not in job.members)
    assert {(job.members, job.bytes) for job in jobs} >= {
        (pair, n) for pair in [(0, 1), (0, 2), (1, 2)] for n in (0, 1024, 65536)
    }
    assert examples == {(0, 1)}


def test_a_sample_holds_the_headline_pair(tmp_path):
    done = run_demo("links", 4, tmp_path, "--net", "10gbe", "--sizes", "8,64K", "--pairs", "1", "--budget", "0.2")
    assert done.status == 0, done.text
    ends = {(fit["source"], fit["destination"]) for fit in done.result["fits"]}
    assert ends == {(0, 1), (1, 0), (2, 3), (3, 2)}  # one round of the tournament


def test_what_was_measured_is_a_network_file(tmp_path):
    saved = tmp_path / "measured.toml"
    options = [
        "--simulate",
        "3",
        "--net",
        "tests/data/one_link.toml",
        "--sizes",
        "8,64K",
        "--out",
        str(tmp_path / "run"),
    ]
    done = CliRunner().invoke(main, [*options, "--save", str(saved)])
    assert done.exit_code == 0, done.output
    assert f"networkfile,for--net:{saved}" in "".join(done.output.split())
    configured, path = (network.load(name).sized(3).between(0, 2) for name in (ONE_LINK, str(saved)))
    assert (path.alpha, path.beta) == pytest.approx((configured.alpha, configured.beta), rel=1e-6)


def simulated(tmp_path, *options):
    sizes = ["--sizes", "8,64K", "--out", str(tmp_path / "run")]
    return CliRunner().invoke(main, ["--simulate", "4", *sizes, *options])


HOSTS_OF_TWO = '[link]\nlatency = "50 us"\nbandwidth = "10 Gbit/s"\n[hosts]\nranks_per_host = 2\n'


def test_a_saved_file_has_the_hosts_of_the_network(tmp_path):
    file, saved = tmp_path / "two.toml", tmp_path / "saved.toml"
    file.write_text(HOSTS_OF_TWO)
    done = simulated(tmp_path, "--net", str(file), "--save", str(saved))
    assert done.exit_code == 0, done.output
    given, found = (network.load(str(name)).sized(4) for name in (file, saved))
    for source, destination in ((0, 1), (1, 2), (0, 3)):
        configured, measured = (one.between(source, destination) for one in (given, found))
        assert (measured.alpha, measured.beta) == pytest.approx((configured.alpha, configured.beta), rel=1e-6)


def test_a_sample_without_a_link_between_hosts_is_refused(tmp_path):
    file = tmp_path / "two.toml"
    file.write_text(HOSTS_OF_TWO)
    done = simulated(tmp_path, "--net", str(file), "--pairs", "1", "--save", str(tmp_path / "saved.toml"))
    assert done.exit_code == 2
    assert "--save needs a link between hosts" in done.stderr


def test_a_network_file_that_cannot_be_written_costs_nothing_of_what_was_measured(tmp_path, monkeypatch):
    folder = tmp_path / "of the file"
    folder.mkdir()

    def written(*arguments):
        folder.rmdir()  # as a disk that is full by then
        return "", []

    monkeypatch.setattr(network_file, "written", written)
    done = simulated(tmp_path, "--net", ONE_LINK, "--save", str(folder / "net.toml"))
    assert done.exit_code == 1
    assert f"cannot write {folder / 'net.toml'}: No such file or directory" in done.stderr
    assert results.load(tmp_path / "run")["fits"]


def a_fit(source, destination, alpha, beta, segments=1):
    terms = {"alpha": {"value": alpha}, "beta": {"value": beta}}
    return {"source": source, "destination": destination, **terms, "segments": [terms] * segments}


def test_links_inside_and_between_hosts_are_told_apart():
    near, far = (1e-6, 1e-10), (50e-6, 8e-10)
    fits = [a_fit(0, 1, *near), a_fit(0, 2, *far), a_fit(1, 2, far[0] * 1.5, far[1]), a_fit(1, 3, *far, segments=2)]
    text, left_out = network_file.written(fits, ["a", "a", "b", "b"], "measured")
    found = files.parse(text).sized(4)
    assert [found.host_of(rank) for rank in range(4)] == [0, 0, 1, 1]
    assert (found.between(0, 1).alpha, found.between(0, 1).beta) == pytest.approx(near)
    assert (found.between(1, 2).alpha, found.between(1, 2).beta) == pytest.approx(far)
    assert left_out == [
        "links between hosts differ by up to 50%: the file has their median",
        "1 of 3 links change their protocol with size: the file has the alpha of short and the beta of long messages",
    ]


def test_links_that_change_their_terms_with_size_are_saved_with_their_segments():
    terms = [(64, 20e-6, 2e-9), (8192, 30e-6, 1e-9), (1 << 22, 90e-6, 1.5e-9)]
    fit = a_fit(0, 1, 20e-6, 1.5e-9) | {
        "segments": [
            {"first": first, "last": last, "alpha": {"value": a}, "beta": {"value": b}}
            for first, (last, a, b) in zip((0, 65, 8193), terms, strict=True)
        ]
    }
    text, left_out = network_file.written([fit, fit], ["a", "b"], "measured")
    assert not left_out
    net = files.parse(text).sized(2)

    def seconds(size):
        def program(comm):
            x = np.zeros(size, np.uint8)
            (comm.Recv if comm.rank else comm.Send)(x, 1 - comm.rank)
            return comm.now()

        return sim.run(program, 2, net).results[1]

    sizes = [2, 64, 65, 8192, 8193, 100_000]
    expected = [next(a + size * b for last, a, b in terms if size <= last) for size in sizes]
    assert [seconds(size) for size in sizes] == pytest.approx(expected, rel=1e-9)


ABOVE_LIMITS = """
[link]
latency = "50 us"
bandwidth = "10 Gbit/s"

[[link.segment]]
above = 100000
latency = "80 us"
bandwidth = "8 Gbit/s"

[protocol]
eager_limit = 8192
"""


def test_a_switch_to_rendezvous_is_saved_and_gives_the_measured_times_again(tmp_path):
    file, saved = tmp_path / "given.toml", tmp_path / "saved.toml"
    file.write_text(ABOVE_LIMITS)
    medians = []
    for net, *more in ((file, "--save", str(saved)), (saved,)):
        options = ["--net", str(net), "--sizes", "8:4M", "--out", str(tmp_path / net.stem), *more]
        done = CliRunner().invoke(main, ["--simulate", "3", *options])
        assert done.exit_code == 0, done.output
        rows = results.load(tmp_path / net.stem)["measurements"]
        medians.append({(row["source"], row["destination"], row["bytes"]): row["seconds"]["median"] for row in rows})
    assert network.load(str(saved)).spec.protocol.eager_limit == 8192
    assert medians[1] == pytest.approx(medians[0], rel=1e-3)


def segmented(*terms, **more):
    """The fit of a link with segments of (first, last, alpha, beta)."""
    segments = [{"first": a, "last": b, "alpha": {"value": c}, "beta": {"value": d}} for a, b, c, d in terms]
    return a_fit(0, 1, terms[0][2], terms[-1][3]) | {"segments": segments} | more


def test_a_switch_at_the_limit_of_a_transport_is_saved_as_its_preset():
    fit = segmented((8, 65_000, 20e-6, 2e-9), (66_000, 1 << 22, 61e-6, 2e-9), transport="tcp")
    limits = {"btl_sm_eager_limit": 4096, "btl_tcp_eager_limit": 65536}
    spec = files.parse(network_file.written([fit], ["a", "b"], "measured", limits)[0]).spec
    assert (spec.protocol.eager_limit, spec.sharing) == (65472, "packet")


def test_long_messages_set_the_cards_of_hosts_that_speak_tcp():
    """Short ones were quicker per byte, by a limit that lets some bytes pass at once: cards are not."""
    fit = segmented((8, 4096, 20e-6, 1e-8), (4097, 1 << 20, 0.0, 1.6e-7), transport="tcp")
    text, _ = network_file.written([fit], ["a", "b"], "measured")
    net = files.parse(text).sized(4)
    assert (net.spec.sharing, net.spec.beta) == ("packet", pytest.approx(1.6e-7))

    def incast(comm):
        x = np.zeros(500_000, np.uint8)
        for request in [comm.Irecv(x, source) for source in range(1, 4) if comm.rank == 0]:
            request.Wait()
        if comm.rank:
            comm.Send(x, 0)
        return comm.now()

    assert sim.run(incast, 4, net).results[0] == pytest.approx(3 * 500_000 * 1.6e-7)
    alike = network_file.written([fit], ["a", "a"], "measured")[0]
    assert files.parse(alike).spec.sharing == "message"


@on_ranks(2, options=["--sizes 8", "--save net", "--save nowhere/net.toml"])
def test_bad_input_is_refused(comm, options):
    said = "at least 2 sizes" if "sizes" in options else "--save takes a network file's name in a folder that exists"
    assert said in refuse(comm, "links", options)
