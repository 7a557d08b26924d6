"""Measure what a message costs between each two ranks: alpha, beta, protocol switches, and a map of all pairs.

On the machine's own transport a message is timed as half a round trip, while all other ranks sleep. With --net every
message goes one way, and each path's configured alpha and beta stand beside the recovered ones.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from mpi4py import MPI

from demos._lib.timing import check_room, keep_checks, timed, too_few_sizes, warn_unstable
from emulator import results
from emulator.errors import CannotWrite, UsageError
from emulator.measure import closed_loop, microbenchmarks, network_file, protocol_limits, repetitions
from emulator.measure.model import MESSAGE
from emulator.measure.terms import fit_link, measurement
from emulator.run import launches
from emulator.run.demo_run import Run
from emulator.run.options import demo

Pair = tuple[int, int]

_MAP_SIZES = (0, 1 << 10, 1 << 16, 1 << 20)


@demo("links", needs=2, sizes="8:4M", budget=30, launches=True)
@click.option("--pairs", type=click.IntRange(min=1), default=120, show_default=True, metavar="N",
              help="Measure all pairs of ranks, or a random sample of at least N.")  # fmt: skip
@click.option("--save", metavar="NET.toml", help="Write what was measured as a network file, which --net takes back.")
def main(run: Run, pairs: int, save: str | None, alone: bool) -> None:
    """Measure what a message costs between each two ranks.

    python -m demos.links -n 8
    """
    if len(run.sizes) < 2:
        raise too_few_sizes(run.sizes)
    run.on_root(lambda: _check_save(save))
    hosts, rounds = _hosts(run), run.on_root(lambda: _rounds(run, pairs))
    most_ranks = 2 * sum(map(len, rounds)) if run.clock == "simulated" else None
    check_room(run, (2 if run.network is None else 4) * len(rounds), most_ranks)
    jobs, examples = _jobs(run, hosts, rounds)
    if save:
        run.on_root(lambda: _check_between({job.members for job in jobs}, hosts))
    run.show()
    series = timed(run, jobs, 10 if run.network is None else 6)
    if run.rank == 0:
        launches.join(run, series, alone)
        _conclude(run, series, examples, hosts)
        warn_unstable(run)
        if save and run.launch.last:
            _save(run, hosts, Path(save))


def _hosts(run: Run) -> list[str]:
    """The host of each rank, by the network if there is one (on rank 0 only)."""
    if run.network is not None:
        return [f"host {run.network.host_of(rank)}" for rank in range(run.size)] if run.rank == 0 else []
    return run.control.allgather(MPI.Get_processor_name())


def _check_save(save: str | None) -> None:
    """Refuse, before measuring, a file that cannot be written."""
    if save and (not save.endswith(".toml") or not Path(save).absolute().parent.is_dir()):
        raise UsageError(f"--save takes a network file's name in a folder that exists, such as net.toml, got {save}")
    results.check_writable(save, "--save")


def _check_between(pairs: Collection[tuple[int, ...]], hosts: Sequence[str]) -> None:
    """Refuse a sample of pairs without a link between hosts, which a network file needs."""
    if len(set(hosts)) > 1 and all(hosts[a] == hosts[b] for a, b in pairs):
        raise UsageError(
            f"--save needs a link between hosts, got a sample of {len(pairs)} links inside of hosts: raise --pairs"
        )


def _save(run: Run, hosts: Sequence[str], path: Path) -> None:
    """Write the network file, and record in the result what it leaves out."""
    where = f"on network {run.network.name}" if run.network is not None else f"on {', '.join(sorted(set(hosts)))}"
    about = f"measured by demos.links on {run.result['started']} between ranks {where}"
    text, left_out = network_file.written(run.fits, hosts, about, run.extra["limits"])
    try:
        with results.replacing(path) as waiting:
            waiting.write_text(text, encoding="utf-8")
    except CannotWrite as error:  # what was measured is still to be saved
        run.unwritten = error
        return
    run.extra |= {"saved": str(path), "left_out": left_out}


def tournament(ranks: int) -> Iterator[list[Pair]]:
    """Rounds in which every two ranks meet once, with disjoint pairs in a round (the circle method).

    There are at least 2 ranks; with an odd number one rank rests in each round.
    """
    even = ranks + ranks % 2
    circle = list(range(1, even))
    for _ in range(even - 1):
        table = [0, *circle]
        pairs = [(table[i], table[even - 1 - i]) for i in range(even // 2)]
        yield sorted((min(a, b), max(a, b)) for a, b in pairs if max(a, b) < ranks)
        circle = circle[-1:] + circle[:-1]


def _rounds(run: Run, wanted: int) -> list[list[Pair]]:
    """All rounds of a tournament, or as many at random as have at least `wanted` pairs.

    Simulated ranks measure exactly so many pairs: a round of thousands of them has thousands.
    """
    rng, rounds = np.random.default_rng(run.seed), list(tournament(run.size))
    if wanted < run.size * (run.size - 1) // 2:
        enough = -(-wanted // len(rounds[0]))
        # The round of 0 and 1 is always in it: the headline figures are theirs.
        rounds = sorted(rounds, key=lambda pairs: ((0, 1) not in pairs, rng.random()))[:enough]
        if run.clock == "simulated":
            rounds = _cut(rounds, wanted, rng)
    return rounds


def _cut(rounds: list[list[Pair]], wanted: int, rng: np.random.Generator) -> list[list[Pair]]:
    """Reduce these rounds to that many pairs: that of ranks 0 and 1, and a random sample of the others."""
    others = [pair for pairs in rounds for pair in pairs if pair != (0, 1)]
    kept = {others[at] for at in rng.permutation(len(others))[: wanted - 1]} | {(0, 1)}
    return [[pair for pair in pairs if pair in kept] for pairs in rounds]


def _jobs(run: Run, hosts: Sequence[str], rounds: Sequence[list[Pair]]) -> tuple[list[repetitions.Job], set[Pair]]:
    """Make jobs of all sizes for one pair of each kind, of a few for every other; returns them and those pairs."""
    fine = microbenchmarks.link_sizes(run.sizes, run.seed)
    coarse = sorted({n for n in _MAP_SIZES if n < max(run.sizes)} | {max(run.sizes)})
    examples: dict[Any, Pair] = {}
    for pair in sorted(pair for pairs in rounds for pair in pairs):
        examples.setdefault(_kind(run, hosts, pair), pair)
    jobs = []
    for pairs in rounds:
        for pair, comm in _communicators(run, pairs):
            sizes = fine if pair in examples.values() else coarse
            one_way = run.network is not None
            jobs += microbenchmarks.messages(comm, pair, sizes, one_way=one_way)
            if one_way:  # a path can differ from the one back; a round trip would not show it
                back = comm.Split(0, -comm.Get_rank()) if comm is not None else None
                jobs += microbenchmarks.messages(back, (pair[1], pair[0]), sizes, one_way=one_way)
    return jobs, set(examples.values())


def _communicators(run: Run, pairs: Sequence[Pair]) -> Iterator[tuple[Pair, Any]]:
    """Split the world into disjoint pairs; yields each pair and, on its two ranks, their communicator."""
    mine = next((index for index, pair in enumerate(pairs) if run.rank in pair), None)
    comm = run.comm.Split(MPI.UNDEFINED if mine is None else mine, run.rank)
    for index, pair in enumerate(pairs):
        yield pair, comm if index == mine else None


def _kind(run: Run, hosts: Sequence[str], pair: Pair) -> Any:
    """The kind of a pair (pairs of one kind should cost the same): its configured path, or whether on one host."""
    if run.network is not None:
        path = run.network.between(*pair)
        return path.alpha, path.beta
    return hosts[pair[0]] == hosts[pair[1]]


def _conclude(run: Run, series: Sequence[repetitions.Series], examples: set[Pair], hosts: Sequence[str]) -> None:
    """Fit every measured direction and compare it with the configuration."""
    by_pair: dict[Pair, list[repetitions.Series]] = {}
    for one in series:
        by_pair.setdefault(one.job.members, []).append(one)  # type: ignore[arg-type]
        run.samples += one.rows()
        if one.wrong:
            run.fail(f"{one.job.bytes} bytes between ranks {one.job.members} have {one.wrong} wrong bytes")
    checks = []
    for pair, rows in by_pair.items():
        fine = (min(pair), max(pair)) in examples
        fitted = fit_link(rows, coarse=not fine, seed=run.seed)
        record = fitted.record("link", "link", closed_loop.configured_terms(run.network, *pair))
        if not fine:
            del record["draws"]
        over = protocol_limits.transport(hosts[pair[0]] == hosts[pair[1]]) if run.network is None else ""
        run.fits.append({**record, "source": pair[0], "destination": pair[1], "fine": fine, "transport": over})
        run.measurements += [measurement(one, fitted.predict(MESSAGE, one.job.bytes)) for one in rows if one.seconds]
        if run.network is not None and run.options.compute == "none":
            checks += closed_loop.compare_link(run.network, *pair, fitted.headline)
    keep_checks(run, checks)
    known, source = protocol_limits.limits(run.result["environment"]["mpi"]) if run.network is None else ({}, "")
    run.extra = {"limits": known, "limits_from": source, "checks": checks}


if __name__ == "__main__":
    main()
