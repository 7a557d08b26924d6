"""Benchmark texts of four kinds, made from known terms: what comes back is what went in."""

from __future__ import annotations

import pytest

from emulator import costs
from emulator.errors import UsageError
from emulator.measure import benchmark_text

ALPHA, BETA = 5e-6, 1e-10
SIZES = [8, 1024, 65536, 1 << 20, 1 << 24]


def us(pattern: str, p: int, n: int) -> float:
    return 1e6 * costs.seconds(pattern, p, n, ALPHA, BETA)


def nccl() -> str:
    ranks = [f"#  Rank  {r} Group  0 Pid 1 on host" for r in range(4)]
    heads = ["# nThread 1 nGpus 1 minBytes 8", *ranks, "#  size  count  type  redop  root  time  algbw  busbw #wrong"]
    rows = []
    for n in SIZES:
        time = f"{us('ring', 4, n):.4f} 1.0 1.0 0"
        rows.append(f"{n:>12} {n // 4:>12} float sum -1 {time} {time}")
    return "\n".join(heads + rows)


def osu() -> str:
    return "# OSU MPI Latency Test v7.3\n# Size          Latency (us)\n" + "\n".join(
        f"{n:<12}{1e6 * (ALPHA + BETA * n):.6f}" for n in SIZES
    )


def osu_allreduce() -> str:
    rows = "\n".join(f"{n:<12}{us('ring', 8, n):.6f}" for n in SIZES)
    return f"# ranks 8\n# OSU MPI Allreduce Latency Test v7.3\n# Size       Avg Latency(us)\n{rows}"


def intel() -> str:
    text = ""
    for p in (2, 8):
        rows = "\n".join(f"{n} 1000 0.1 {us('ring', p, n):.6f} 0.2" for n in SIZES)
        head = "#bytes #repetitions t_min[usec] t_max[usec] t_avg[usec]"
        text += f"# Benchmarking Allreduce \n# #processes = {p} \n{head}\n{rows}\n"
    return text


def two_points() -> str:
    first, second = (us("ring", p, 10**8) / 1e6 for p in (2, 16))
    return f"p = 2: 100 MB in {first * 1e3:.9f} ms\np=16 bytes=100000000 seconds={second:.12f}\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [(nccl(), "nccl-tests"), (osu(), "OSU micro-benchmarks"), (osu_allreduce(), "OSU micro-benchmarks"),
     (intel(), "Intel MPI Benchmarks"), (two_points(), "two-point timing")],
)  # fmt: skip
def test_terms_come_back(tmp_path, text, name):
    path = tmp_path / "out.txt"
    path.write_text(text)
    found = benchmark_text.read(path)
    assert found["origin"].startswith(name)
    assert found["alpha"] == pytest.approx(ALPHA, rel=1e-3)
    assert found["beta"] == pytest.approx(BETA, rel=1e-3)
    if name != "two-point timing":
        assert len(found["draws"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no known format: .* got an empty file"),
        ("# OSU MPI Bandwidth Test v7\n1 3.2\n2 6.4\n", "this is OSU MPI Bandwidth Test: .* take osu_latency"),
        ("# Benchmarking Exchange\n#processes = 4\n 0 9 1.2 1.3 1.4\n", "PingPong, .* got Exchange: run one of them"),
        ("hello", "no known format: it must be the text output of nccl-tests, OSU"),
        (osu_allreduce().replace("# ranks 8\n", ""), "add a line '# ranks N'"),
        ("p=2 bytes=8 seconds=1e-6", "need timings of 2 sizes or 2 numbers of ranks, got 1"),
        ("p=2 quickly", "a timing line has p >= 2, bytes and a time"),
    ],
)
def test_other_texts_are_refused(tmp_path, text, said):
    path = tmp_path / "out.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        benchmark_text.read(path)


@pytest.mark.parametrize("seconds", ["nan", "-1", "inf", "1.2.3", "- 1"])
def test_a_timing_that_is_no_positive_number_is_refused(seconds):
    text = f"p=2 bytes=1000 seconds=0.5\np=16 bytes=1000 seconds={seconds}\n"
    with pytest.raises(UsageError, match=r"a timing line has p >= 2, bytes and a time, got 'p=16"):
        benchmark_text.parse(text)


def test_a_timing_of_one_rank_is_refused():
    with pytest.raises(UsageError, match="a timing line has p >= 2"):
        benchmark_text.parse("p=0 bytes=1000 seconds=0.5")
