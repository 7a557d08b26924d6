"""Membership by SWIM: ranks detect which of them are alive.

The last rank falls silent, is suspected, then declared dead, and learns that it is evicted when it answers again.
"""

from __future__ import annotations

import click

from emulator import carrier
from emulator.core.wall_clock import wait_until
from emulator.errors import UsageError
from emulator.run.demo_run import Run
from emulator.run.options import TIME, demo
from primitives.membership import Detector, Settings, State


@demo("membership", needs=3)
@click.option(
    "--period", type=TIME, default="200 ms", show_default=True, help="SWIM's protocol period in the live group."
)
def main(run: Run, period: float) -> None:
    """Measure how soon SWIM finds a silent rank.

    mpirun -n 8 python -m demos.membership
    """
    if carrier.of(run.comm).ordered:
        raise UsageError(
            "a detector waits for silence, and without pacing emulated time stands still: --pace auto or --pace K"
        )
    victim, settings = run.size - 1, Settings(period_s=period)
    wait_until(run.control.Ibarrier().Test)  # a rank that is not there yet would be declared dead
    detector = Detector(run.comm, settings=settings, seed=run.seed)
    detector.watch(4 * period)
    detector.watch(60.0, until=run.control.Ibarrier().Test)
    begin = run.now()
    found: list[tuple[str, float]] = []
    limit = (2 * run.size + 3 * settings.suspicion(run.size) / period) * period
    if run.rank != victim:
        events = detector.watch(limit, until=lambda: detector.swim.state(victim) is State.DEAD)
        found = [(event.state.name, event.time - begin) for event in events if event.member == victim]
    wrong = sorted(detector.dead - {victim})
    together = run.control.Ibarrier()
    if run.rank == victim:
        carrier.of(run.comm).wait_until(together.Test, longest_s=0.01)  # silent until all others have declared it dead
    else:
        detector.watch(60.0, until=together.Test)
    if run.rank == victim:
        detector.watch(4 * run.size * period, until=lambda: detector.evicted)
    learned = run.control.Ibarrier()
    detector.watch(4 * run.size * period, until=learned.Test)
    reports = run.control.gather((found, wrong, detector.evicted))
    if reports is None:
        return
    changes = [change for seen, _, _ in reports for change in seen]
    when = {name: sorted(t for state, t in changes if state == name) for name in ("SUSPECT", "DEAD")}
    if not when["DEAD"] or len(when["DEAD"]) < run.size - 1:
        seen, all_others = len(when["DEAD"]), run.size - 1
        run.fail(f"{all_others} ranks must declare the silent one dead in {limit:.1f} s, {seen} did: longer --period")
        return
    wronged = sorted({rank for _, w, _ in reports for rank in w})
    if wronged:
        run.warn(
            f"living ranks {wronged} were declared dead: the machine is too busy for the period, give a longer --period"
        )
    run.extra["live"] = when | {
        "victim": victim,
        "period_s": period,
        "evicted": reports[victim][2],
        "living_declared_dead": wronged,
    }


if __name__ == "__main__":
    main()
