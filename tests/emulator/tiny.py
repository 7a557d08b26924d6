"""A demo that does as it is told, for the tests of the shared command line."""

import click

from emulator.launch import mpirun

mpirun.prepare()

from emulator.errors import CheckFailed, UsageError  # noqa: E402
from emulator.measure.repetitions import Job, Stop, measure  # noqa: E402
from emulator.run.demo_run import Run  # noqa: E402
from emulator.run.options import demo  # noqa: E402

WAYS = ["well", "all refuse", "one refuses", "one crashes", "check fails", "interrupt", "talk"]


@demo("tiny", needs=2)
@click.option("--end", type=click.Choice(WAYS), default="well")
def main(run: Run, end: str) -> None:
    """End in one of several ways."""
    run.echo(f"{run.size} ranks, sizes {run.sizes}")
    if run.rank == 0 and end != "interrupt":
        run.measurements.append({"pattern": "none", "ranks": run.size, "bytes": 0, "seconds": {"median": 1.0}})
        run.samples.append({"pattern": "none", "seconds": 1.0})
    if end == "all refuse":
        raise UsageError("the rule, the value: the remedy")
    if end == "one refuses" and run.rank == 1:
        raise CheckFailed("rank 1 found it wrong")
    if end == "one crashes" and run.rank == 1:
        raise RuntimeError("a bug")
    if end == "check fails" and run.rank == 0:
        run.fail("a wrong result")
    if end == "talk":  # more than a pipe holds
        for _ in range(2000):
            run.echo("x" * 100)
    if end == "interrupt":
        _measure_for_ever(run)
    run.control.Barrier()


def _measure_for_ever(run: Run) -> None:
    """Repeat two jobs until the run is ended, which from the second round on is waited for."""
    rounds = 0

    def once() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 20:
            run.echo("waiting")
        run.control.Barrier()
        if rounds == 1000:
            run.control.recv(source=(run.rank + 1) % run.size)  # for ever: nobody sends

    jobs = [Job("none", run.size, size, tuple(range(run.size)), run.control, once) for size in (0, 8)]
    measure(run.control.Dup(), jobs, Stop(budget=1000, width=0, most=10**9), under_way=run.under_way)


if __name__ == "__main__":
    main()
