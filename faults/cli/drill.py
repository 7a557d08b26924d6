"""``python -m faults drill PATTERN``: one fault plan, one policy, and what recovery cost."""

from __future__ import annotations

import sys

import click
from click.core import ParameterSource

from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.run.options import PACE, SIZE
from faults.cli import show
from faults.cli.options import Positive
from faults.cli.report import NOT_RECOVERED, Report, over, reporting
from faults.detect import DETECTORS
from faults.drill import drill as drills
from faults.drill.job_spec import LEVELS
from faults.drill.request import Order, even_hosts
from faults.drill.training import REDUCTIONS
from faults.patterns.catalogue import CATALOGUE, RULES
from faults.plan import describe, read_lines

_ON_DISK = {
    "checkpoints": "--checkpoints",
    "every": "--checkpoint-every",
    "keep": "--keep",
    "background": "--background",
    "mtbf": "--mtbf",
}
"""Options of checkpoints on disk, by their parameters' names."""


@click.command()
@click.argument("pattern", metavar="|".join(CATALOGUE))
@click.option("-n", "ranks", type=click.IntRange(min=2), default=8, show_default=True, help="Ranks at work.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="LINE|FILE.toml",
    help="KIND TARGET @ WHEN [for DURATION] [by FACTOR]; may be given several times.",
)
@click.option("--recovery", metavar="POLICY", help="How to recover; absent: the pattern's natural way.")
@click.option("--spares", type=click.IntRange(min=0), help="Ranks that wait; absent: 1 for --recovery spare.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of the job.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Drills to run.")
@click.option(
    "--hosts", type=click.IntRange(min=1), help="Hosts for `kill host N`, in even blocks of ranks; absent: --net's."
)
@click.option("--real-hosts", is_flag=True, help="Two hosts made by scripts/two-hosts; a host dies with its daemon.")
@click.option("--reduction", type=click.Choice(REDUCTIONS), help="How the gradients of ring training are added.")
@click.option(
    "--agree-every",
    "agree",
    type=click.IntRange(min=0),
    help="Steps between agreements (ring); absent: 0, none before a death or the end (with --checkpoint 1).",
)
@click.option("--ballast", type=SIZE, help="Bytes that travel beside the work (not in every step), for long messages.")
@click.option("--net", metavar="NAME|FILE.toml", help="Emulated network; absent: the transport as it is.")
@click.option(
    "--pace",
    type=PACE,
    default="none",
    metavar="auto|none|K",
    show_default=True,
    help="Wall seconds per emulated second; none holds nothing back.",
)
@click.option("--rule", type=click.Choice(RULES), help="How a federated server averages.")
@click.option("--liars", type=click.IntRange(min=0), help="Most clients that --rule median is to bear lying.")
@click.option(
    "--checkpoint",
    "levels",
    type=click.Choice(tuple(LEVELS)),
    help="Where ring training by spare or respawn keeps what each rank alone has: a buddy's memory, then disk.",
)
@click.option(
    "--checkpoint-every",
    "every",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Steps between checkpoints on disk; 0 (restart): by Daly's rule from --mtbf.",
)
@click.option("--keep", type=click.IntRange(min=1), default=2, show_default=True, help="Checkpoints kept.")
@click.option("--background", is_flag=True, help="Write checkpoints in a thread.")
@click.option("--checkpoints", metavar="DIR", help="Folder of the checkpoints; absent: in the run folder.")
@click.option("--mtbf", type=Positive(), help="Mean time between failures, for --checkpoint-every 0.")
@click.option(
    "--detector",
    metavar="|".join(DETECTORS),
    help="Who says that a rank is dead; absent: heartbeats where the plan has a hang, else the runtime.",
)
@click.option("--limit", type=Positive(), help="Silence that means death; absent: from the ranks per core.")
@click.option("--deadline", type=Positive(), default="120 s", show_default=True, help="Longest time for one launch.")
@click.option("--seed", type=click.IntRange(min=0), help="Of every draw; absent: the plan file's, else 0.")
@reporting("faults", "Say what would happen and start nothing.")
def drill(
    pattern: str, ranks: int, faults: tuple[str, ...], recovery: str | None, spares: int | None, steps: int | None,
    repeat: int, hosts: int | None, real_hosts: bool, reduction: str | None, agree: int | None, ballast: int | None,
    net: str | None, pace: float | str, rule: str | None, liars: int | None,
    levels: str | None, every: int, keep: int, background: bool,
    checkpoints: str | None, mtbf: float | None, detector: str | None, limit: float | None,
    deadline: float, seed: int | None, report: Report,
) -> None:  # fmt: skip
    """Run a pattern, let faults happen, recover, and say what it cost.

    Exit status: 0 recovered, 2 bad input, 3 not recovered.
    """
    pattern = pattern.replace("_", "-")  # the demos' spelling
    if pattern not in CATALOGUE:
        raise UsageError(f"a pattern is one of {', '.join(CATALOGUE)}, got {pattern!r}")
    policy = recovery or CATALOGUE[pattern].policies[0]
    own = {"reduction": reduction, "agree": agree, "ballast": ballast, "rule": rule, "liars": liars}
    lines, planned = read_lines(faults)
    seed = seed if seed is not None else planned or 0
    waiting = spares if spares is not None else int(policy == "spare")
    order = Order(
        pattern,
        ranks,
        lines,
        policy,
        spares=waiting,
        steps=steps,
        seed=seed,
        repeat=repeat,
        options={key: value for key, value in own.items() if value is not None},
        checkpoint={
            "folder": checkpoints,
            "every": every,
            "keep": keep,
            "background": background,
            "mtbf_s": mtbf,
            "levels": LEVELS[levels] if levels else (),
        },
        real_hosts=real_hosts,
        hosts=even_hosts(ranks, waiting, hosts) if hosts else None,
        net=net,
        pace=pace,
        detector=detector,
        limit_s=limit,
        deadline_s=deadline,
    )
    spec = order.spec(seed)
    _check_used(order, limit if spec.detector == "runtime" else None)
    if report.dry_run:
        if order.placement() and any(fault.target.hosts for fault in order.faults):
            click.echo(f"hosts of ranks 0 to {ranks - 1}: {' '.join(map(str, (order.placement() or [])[:ranks]))}")
        for line in dict.fromkeys(map(describe, spec.events)):
            click.echo(line)
        return
    with report.begun(ranks, **over(net, ranks + waiting, pace)) as folder:
        drills.check(order, folder, mpirun.find_mpi())
        if report.screen:
            said = "; ".join(fault.text for fault in order.faults) or "no fault"
            about = CATALOGUE[pattern].summary
            report.screen.print(f"{about}: {ranks} ranks, {spec.steps} steps, {said}, recovery by {policy}\n")
        outcome = drills.run(order, folder, seen=lambda outcome: report.save(drill=drills.record(outcome)))
        report.show(lambda screen: show.summary(screen, outcome))
    if not outcome.recovered:
        failed = next(j for j in outcome.judgements if not j.recovered)
        print(f"error: not recovered at phase {failed.phase}: {failed.reason}", file=sys.stderr)
        sys.exit(NOT_RECOVERED)


def _check_used(order: Order, limit: float | None) -> None:
    """Refuse options that would have no effect.

    Parameters
    ----------
    limit
        The limit of silence where nobody listens for it.
    """
    if limit is not None:
        raise UsageError(
            "--limit is for --detector heartbeat, phi or swim, the runtime has no limit of silence: leave it out"
        )
    source = click.get_current_context().get_parameter_source
    if order.net is None and source("pace") is not ParameterSource.DEFAULT:
        raise UsageError("--pace is for an emulated network, got no --net: leave it out, or choose --net 10gbe")
    given = [option for name, option in _ON_DISK.items() if source(name) is not ParameterSource.DEFAULT]
    if given and not order.on_disk:
        raise UsageError(
            f"{given[0]} is for checkpoints on disk, and {order.pattern} by {order.recovery} writes none: "
            f"leave it out, or choose --recovery restart or --checkpoint memory,disk"
        )
    every, mtbf = order.checkpoint["every"], order.checkpoint["mtbf_s"]
    if not every and order.recovery != "restart":
        raise UsageError("--checkpoint-every 0 finds the interval in --recovery restart only: give a number of steps")
    if every and mtbf is not None:
        raise UsageError(f"--mtbf is for --checkpoint-every 0, got --checkpoint-every {every}: leave one of them out")
