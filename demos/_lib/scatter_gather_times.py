"""Time of scatter and gather of n bytes at the root, directly and down a tree, with the closed form."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from demos._lib.formulas import formula, judge
from demos._lib.timing import Formula, answering, check_room, keep, timed
from emulator import costs
from emulator.errors import UsageError
from emulator.measure.repetitions import Job, Series
from emulator.run.demo_run import Run
from primitives.scatter_gather import gather_blocks, scatter_blocks

PREDICTED: dict[str, Callable[..., float]] = {
    "scatter linear": costs.linear_blocks,
    "scatter tree": costs.tree_scatter_blocks,
    "gather linear": costs.linear_blocks,
    "gather tree": costs.tree_gather_blocks,
}


def study(run: Run) -> None:
    """Measure scatters and gathers on sub-communicators, beside their predictions."""
    counts = [p for p in run.sub_sizes((4, 8, 16)) if p > 1]
    if not counts:
        raise UsageError("scatter-gather needs at least 2 ranks, got --ranks 1: leave it out")
    # Simulated ranks share the blocks: a few of them hold as many as are on their way up or down a tree.
    check_room(run, buffers=4, most_ranks=8 if run.clock == "simulated" else None)
    series = timed(run, [_job(run.sub(p), name, p, size) for p in counts for size in run.sizes for name in PREDICTED])
    if run.rank == 0:
        judge(run, "scatters and gathers", keep(run, series, _formula(run, series)))
        for row in run.measurements:
            row["busbw"] = row["algbw"] and row["algbw"] * (row["ranks"] - 1) / row["ranks"]
    run.show()


def _job(comm: Any, name: str, p: int, size: int) -> Job:
    kind, shape = name.split()
    rank = -1 if comm is None else comm.Get_rank()
    blocks = _blocks(size, p)
    mine = blocks if rank == 0 else None
    expected = blocks[rank] if kind == "scatter" else mine

    def once() -> Any:
        if kind == "scatter":
            return scatter_blocks(comm, mine, shape=shape)
        return gather_blocks(comm, blocks[rank], shape=shape)

    return answering(comm, name, p, size, once, lambda seen: int(seen != expected))


@cache
def _blocks(size: int, p: int) -> list[bytes]:
    """Each rank's block, read only, so that simulated ranks share them."""
    return [bytes([each % 256]) * _block(size, p) for each in range(p)]


def _block(size: int, p: int) -> int:
    return -(-size // p)


def _formula(run: Run, series: list[Series]) -> Formula:
    """Predictions from the configured network, or with alpha and beta fitted to these times for each form.

    The forms differ in how their transfers overlap, which no model with one alpha tells.
    """

    def configured(name: str, p: int, size: int) -> float:
        assert run.network is not None
        path = run.network.between(0, 1)
        card = {"egress": egress(run)} if name == "scatter linear" else {}
        return PREDICTED[name]([_block(size, p)] * p, path.alpha, path.beta, **card)

    def terms(name: str, p: int) -> costs.Terms:
        kind, shape = name.split()
        return costs.terms(f"{'linear' if shape == 'linear' else 'binomial'}_{kind}", p)

    forms = {
        shape: formula(run, [one for one in series if one.job.pattern.endswith(shape)], configured, terms,
                       f"scatter and gather, {shape}")
        for shape in ("linear", "tree")
    }  # fmt: skip
    return lambda name, p, size: forms[name.split()[1]](name, p, size)


def egress(run: Run) -> float:
    """Seconds per byte at which the card of rank 0's host sends, on the configured network."""
    assert run.network is not None
    return float(run.network.hosts[run.network.host_of(0)].nic.egress_beta)
