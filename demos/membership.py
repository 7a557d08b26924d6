"""Find out together who is alive: SWIM in virtual time, many times over, and once for real.

First the protocol's figures: the ranks share out simulated groups, in which a member dies, and in which messages get
lost, and put what they counted beside the formulas. Then the ranks themselves form a group; the last one falls silent,
is suspected, declared dead, and finds itself evicted when it wakes.
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from demos._lib.gossip_report import number, table
from emulator import carrier
from emulator.core.wall_clock import wait_until
from emulator.run.options import TIME, demo
from emulator.run.session import Run
from primitives.membership import Detector, Settings, simulate
from primitives.membership.simulation import Figures, false_probe_rate, periods_to_first_ping


@demo("membership", needs=3)
@click.option("--period", type=TIME, default="200 ms", show_default=True, help="Of the live group.")
@click.option("--groups", type=click.IntRange(2), default=48, show_default=True, help="Simulated groups per line.")
def main(run: Run, period: float, groups: int) -> None:
    """Measure SWIM's detection times, false alarms and load.

    mpirun -n 8 python -m demos.membership
    """
    deaths = [(n, _share(run, groups, n=n, victims=[n - 1], periods=14 + 8 * np.log2(n))) for n in (4, 8, 16, 32)]
    losses = [(loss, _share(run, groups, n=8, loss=loss, periods=100)) for loss in (0.01, 0.05, 0.1, 0.2)]
    if run.rank == 0:
        _deaths(run, deaths)
        _losses(run, losses)
    if carrier.of(run.comm).ordered:
        run.echo("No live group: emulated time without pacing stands still while a detector waits (--pace auto or K).")
    else:
        _live(run, period)


def _share(run: Run, groups: int, *, n: int, **options: Any) -> list[Figures]:
    """Simulate `groups` groups, some on each rank; rank 0 gets all figures."""
    mine = [simulate(n, seed=seed, **options) for seed in range(run.seed + run.rank, run.seed + groups, run.size)]
    return [figures for part in run.control.gather(mine) or [] for figures in part]


def _deaths(run: Run, rows: list[tuple[int, list[Figures]]]) -> None:
    laid = table(
        "a member dies: periods until ...", "members", "first suspected (p95)", "formula", "declared dead",
        "known to all (p95)", "false deaths", "messages per member and period",
    )  # fmt: skip
    for n, seen in rows:
        suspected, everybody = [f.suspected for f in seen], [f.known_to_all for f in seen]
        laid.add_row(
            str(n), f"{np.mean(suspected):.2f} ({np.percentile(suspected, 95):.1f})",
            f"{periods_to_first_ping(n):.2f} .. 2", number(float(np.mean([f.declared for f in seen])), ".2f"),
            f"{np.mean(everybody):.2f} ({np.percentile(everybody, 95):.1f})",
            str(sum(f.false_deaths for f in seen)),
            f"{sum(f.messages for f in seen) / sum(f.probes for f in seen):.2f}",
        )  # fmt: skip
        if np.isnan(everybody).any() or any(f.false_deaths for f in seen):
            run.fail(f"in every group of {n} all survivors must find the dead member and no other, some did not")
    run.extra["deaths"] = [{"members": n, "figures": [vars(f) for f in seen]} for n, seen in rows]
    run.echo(laid, "")


def _losses(run: Run, rows: list[tuple[float, list[Figures]]]) -> None:
    laid = table(
        "8 members, nobody dies, messages get lost", "lost", "probes", "failed", "formula", "false deaths"
    )  # fmt: skip
    for loss, seen in rows:
        probes = sum(f.probes for f in seen)
        laid.add_row(
            f"{loss:.0%}", str(probes), str(sum(f.failed_probes for f in seen)),
            f"{false_probe_rate(loss, Settings().indirect) * probes:.1f}", str(sum(f.false_deaths for f in seen)),
        )  # fmt: skip
    run.extra["losses"] = [{"loss": loss, "figures": [vars(f) for f in seen]} for loss, seen in rows]
    run.echo(laid, "")


def _live(run: Run, period: float) -> None:
    """The last rank falls silent; the others wait until they have declared it dead, then it looks again."""
    victim, settings = run.size - 1, Settings(period_s=period)
    wait_until(run.control.Ibarrier().Test)  # who is not there yet (rank 0 prints tables) would be declared dead
    detector = Detector(run.comm, settings=settings, seed=run.seed)
    detector.watch(4 * period)
    detector.watch(60.0, until=run.control.Ibarrier().Test)
    begin = run.now()
    found: list[tuple[str, float]] = []
    limit = (2 * run.size + 3 * settings.suspicion(run.size) / period) * period
    if run.rank != victim:
        events = detector.watch(limit, until=lambda: victim in detector.dead)
        found = [(event.state.name, event.time - begin) for event in events if event.member == victim]
    wrong = sorted(detector.dead - {victim})
    together = run.control.Ibarrier()
    if run.rank == victim:
        wait_until(together.Test, longest=0.01)  # silent until all others are sure
    else:
        detector.watch(60.0, until=together.Test)
    detector.watch(4 * run.size * period, until=lambda: detector.evicted)
    reports = run.control.gather((found, wrong, detector.evicted))
    if reports is None:
        return
    changes = [change for seen, _, _ in reports for change in seen]
    when = {name: sorted(t for state, t in changes if state == name) for name in ("SUSPECT", "DEAD")}
    if not when["DEAD"] or len(when["DEAD"]) < run.size - 1:
        seen, all_others = len(when["DEAD"]), run.size - 1
        run.fail(f"{all_others} ranks must declare the silent one dead in {limit:.1f} s, {seen} did: longer --period")
        return
    run.echo(
        f"live, {run.size} ranks, period {period * 1e3:g} ms: rank {victim} suspected after "
        f"{when['SUSPECT'][0] * 1e3:.0f} ms, dead to the first after {when['DEAD'][0] * 1e3:.0f} ms and to all after "
        f"{when['DEAD'][-1] * 1e3:.0f} ms; awake again it finds itself {'evicted' if reports[victim][2] else 'welcome'}"
    )
    wronged = sorted({rank for _, w, _ in reports for rank in w})
    if wronged:
        run.warn(
            f"living ranks {wronged} were declared dead: the machine is too busy for the period, give a longer --period"
        )
    run.extra["live"] = when | {"victim": victim, "evicted": reports[victim][2], "living_declared_dead": wronged}


if __name__ == "__main__":
    main()
