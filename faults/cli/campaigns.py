"""The commands of campaigns: ``python -m faults matrix|soak|alarms|trace|month``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import click

from emulator import policies
from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.run.options import sharing
from emulator.units import format_time, parse_time
from faults.campaigns import alarms as detections
from faults.campaigns import failure_trace as traces
from faults.campaigns import matrix as matrices
from faults.campaigns import month as months
from faults.campaigns import random_drills
from faults.campaigns import soak as soaks
from faults.campaigns.alarms import SITUATIONS, Detection
from faults.campaigns.matrix import SCENARIOS
from faults.cli.options import Names, Positive, requesting
from faults.cli.report import Report, over, reporting
from faults.detect import DETECTORS
from faults.drill.drill import repeat_folder
from faults.drill.request import Request
from faults.launch.supervise import need_ulfm
from faults.patterns.catalogue import CATALOGUE
from faults.plan.events import describe
from faults.record.outcome import NOT_RECOVERED


@click.command()
@requesting(
    "ranks", "simulate", "spares", "repeat", "net", "deadline_s", "trace", "trace_limit", "seed",
    ranks={"type": click.IntRange(min=3), "default": 6},
    spares={"type": click.IntRange(min=1), "default": 1, "show_default": True, "help": "Spare ranks, for spare."},
    repeat={"help": "Drills in each cell."},
    net={"help": "Emulated network; absent: where the fault is one of a network."},
    seed={"default": 0, "show_default": True, "help": "Seed of all random choices."},
)  # fmt: skip
@click.option("--patterns", type=Names(), default=(), help="Patterns to drill; absent: all.")
@click.option("--policies", type=Names(), default=(), help="Recovery policies to drill; absent: all of each pattern.")
@click.option(
    "--faults", "scenarios", type=Names(), default=(), help=f"Faults, of {', '.join(SCENARIOS)}; absent: all."
)
@reporting("matrix", "List the cells and start nothing.")
def matrix(
    request: Request, patterns: tuple[str, ...], policies: tuple[str, ...], scenarios: tuple[str, ...], report: Report
) -> None:
    """Drill every pattern under every policy against every fault.

    Exit status: 0 all that can survive did, 2 bad input, 3 something did not.
    """
    chosen = matrices.cells(patterns, policies, scenarios)
    emulated = over(request, request.ranks + (request.spares or 0))
    if report.dry_run:
        for cell in chosen:
            asked = cell.request(request)
            why = matrices.refusal(cell, asked)
            what = f"not run: {why}" if why else "; ".join(asked.faults)
            click.echo(f"{cell.pattern} by {cell.recovery}, {cell.fault}: {what}")
        return
    about = {name: SCENARIOS[name].about for name in dict.fromkeys(cell.fault for cell in chosen)}
    found: list[dict[str, Any]] = []
    with report.begun(request.ranks, **emulated) as folder:
        with report.progress(len(chosen), "drills") as bar:
            for one in matrices.run(chosen, request, folder):
                found.append(vars(one))
                report.save(matrix=found, scenarios=about)
                bar.advance()
        recovered = [one for one in found if one["drill"] and one["drill"]["recovery_seconds"]]
        if request.trace and recovered:
            slowest = max(recovered, key=lambda one: float(one["drill"]["recovery_seconds"]))
            job = f"{slowest['pattern']}-{slowest['recovery']}-{slowest['fault']}"
            report.add_timeline(folder / job / repeat_folder(0), f"the slowest recovery, {job}")
        report.show()
    if any(one["outcome"] == matrices.FAILED for one in found):
        sys.exit(NOT_RECOVERED)


@click.command()
@click.option(
    "--kills",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Number of kills after which the soak ends.",
)
@requesting(
    "ranks", "simulate", "net", "ballast", "trace", "trace_limit", "seed",
    ranks={"flag": "--most-ranks", "default": 16, "help": "Largest job."},
    ballast={"help": "Bytes that are sent along with the work, so that kills interrupt long messages."},
    seed={"default": 0, "show_default": True, "help": "Seed of all random choices."},
)  # fmt: skip
@click.option("--patterns", type=Names(), default=(), help=f"Patterns, of {', '.join(CATALOGUE)}; absent: ring.")
@click.option(
    "--policies",
    type=Names(),
    default=(),
    help="Recovery policies; absent: shrink and spare for ring, all of other patterns.",
)
@reporting("soak", "List the trials, as long as every kill fires, and start nothing.")
def soak(kills: int, request: Request, patterns: tuple[str, ...], policies: tuple[str, ...], report: Report) -> None:
    """Kill ranks at random instants, job after job.

    Exit status: 0 clean, 2 bad input, 3 something hung, was wrong or was left.
    """
    chosen = random_drills.jobs(patterns, policies, request)
    if report.dry_run:
        for trial in soaks.trials(kills, request, chosen):
            click.echo(f"{trial.text}: {'; '.join(trial.request.faults)}")
        return
    for policy in {policy for _, policy in chosen if not request.simulate}:
        need_ulfm(mpirun.find_mpi(), policy)
    about = {
        "seed": request.seed,
        "net": request.network,
        "ballast": request.options.get("ballast", 0),
        "jobs": [f"{pattern} by {policy}" for pattern, policy in chosen],
    }
    with report.begun(request.ranks, **over(request, request.ranks)) as folder:
        with report.progress(kills, "kills") as bar:

            def keep(tally: soaks.Tally, fired: int) -> None:
                report.save(soak=about | tally.to_json())
                bar.advance(fired)

            tally = soaks.soak(kills, request, folder, chosen, keep)
        if request.trace and tally.recoveries:
            slowest = max(tally.recoveries, key=lambda one: float(one["seconds"]))
            job = f"trial {slowest['trial']}, {slowest['pattern']} by {slowest['recovery']}"
            report.add_timeline(folder / soaks.place(slowest["trial"]), f"the slowest recovery, in {job}")
        report.show()
    for line in tally.failed:
        print(f"error: {line}", file=sys.stderr)
    if tally.failed:
        again = f"trials repeat with --seed {request.seed}"
        print(f"error: the folders of failed trials are in {folder}; {again}", file=sys.stderr)
        sys.exit(NOT_RECOVERED)


@click.command()
@requesting(
    "ranks", "limit_s", "trace", "trace_limit", "seed",
    ranks={"type": click.IntRange(min=3), "default": 4, "help": "Ranks; 8 per core in the crowd."},
    seed={"default": 0, "show_default": True, "help": "Seed of all random choices."},
)  # fmt: skip
@click.option(
    "--detectors", type=Names(), default=(), help=f"Failure detectors, of {', '.join(DETECTORS)}; absent: all."
)
@click.option("--situations", type=Names(), default=(), help=f"Situations, of {', '.join(SITUATIONS)}; absent: all.")
@reporting("alarms", "List the jobs and start nothing.")
def alarms(request: Request, detectors: tuple[str, ...], situations: tuple[str, ...], report: Report) -> None:
    """Compare failure detectors: time to detection, and false alarms in situations that must kill no rank.

    Exit status: 0 no live rank was killed, 2 bad input, 3 one was.
    """
    detections.check(detectors, situations)
    names, chosen = situations or tuple(SITUATIONS), detectors or tuple(DETECTORS)
    if report.dry_run:
        for name in names:
            click.echo(f"{name}: {SITUATIONS[name].about}; seen by {', '.join(chosen)}")
        return
    about = {name: {"about": SITUATIONS[name].about, "real": SITUATIONS[name].real} for name in names}
    found: list[Detection] = []
    with report.begun(request.ranks) as folder:
        with report.progress(len(names) * len(chosen), "jobs") as bar:
            for one in detections.run(request, folder, chosen, names):
                found.append(one)
                report.save(alarms=[vars(each) for each in found], situations=about)
                bar.advance()
        if request.trace:
            slowest = max(found, key=lambda one: one.detection_seconds or 0.0)
            job = f"{slowest.situation}-{slowest.detector}"
            report.add_timeline(folder / job, f"the slowest detection, {job}")
        report.show()
    if any(one.wrong or one.false_alarms for one in found):
        sys.exit(NOT_RECOVERED)


@click.command()
@requesting(
    "ranks", "spares", "seed",
    spares={"type": click.IntRange(min=1), "default": 2, "show_default": True, "help": "Spare ranks, for spare."},
    seed={"default": 1, "show_default": True, "help": "Seed of the trace."},
)  # fmt: skip
@click.option("--policies", type=Names(), default=traces.POLICIES, show_default=True)
@click.option(
    "--mtbf",
    type=Names(),
    default=("4 s", "2 s", "1 s"),
    show_default=True,
    help="Mean times between failures of the whole job.",
)
@click.option("--work", type=Positive(), default="5 s", show_default=True, help="Fault-free length of the job.")
@click.option("--step", type=Positive(), default="10 ms", show_default=True, help="Fault-free length of a step.")
@reporting("trace", "List who dies when and start nothing.")
def trace(
    request: Request, policies: tuple[str, ...], mtbf: tuple[str, ...], work: float, step: float, report: Report
) -> None:
    """Run one failure trace under every policy.

    Exit status: 0 every job came to the fault-free result, 2 bad input, 3 one did not.
    """
    setting = traces.Setting(request.ranks, request.spares or 0, work, step, request.seed)
    mtbfs = [parse_time(text) for text in mtbf]
    traces.check(setting, policies, mtbfs)
    if report.dry_run:
        for mean in mtbfs:
            click.echo(f"MTBF {format_time(mean)}:")
            for event in setting.failures(mean):
                click.echo(f"  {describe(event)}")
        return
    runs: list[traces.Run] = []
    with report.begun(request.ranks) as folder:
        with report.progress(len(policies) * (1 + len(mtbfs)) + len(traces.MULTIPLES), "jobs") as bar:
            for one in traces.compare(setting, policies, mtbfs, folder):
                runs.append(one)
                report.save(trace=_record(runs, None))
                bar.advance()

            def keep(found: traces.Intervals) -> None:
                report.save(trace=_record(runs, found))
                bar.advance()

            costs = [one.checkpoint_s for one in runs if one.checkpoint_s]
            if costs:  # of the policies with checkpoints, at the middle MTBF
                traces.intervals(setting, sorted(mtbfs)[len(mtbfs) // 2], median(costs), folder, keep)
        report.show()
    if any(one.wrong for one in runs):
        sys.exit(NOT_RECOVERED)


def _record(runs: Sequence[traces.Run], best: traces.Intervals | None) -> dict[str, Any]:
    return {
        "runs": [vars(one) for one in runs],
        "crossovers": [vars(crossing) for crossing in traces.crossovers(runs)],
        "intervals": None if best is None else best.to_json(),
    }


@click.command()
@click.option("--nodes", type=click.IntRange(min=1), default=4096, show_default=True, help="Number of working nodes.")
@click.option("--mtbf", type=Positive(), default="5 years", show_default=True, help="Mean time between failures of one "
              "node.")  # fmt: skip
@click.option(
    "--recovery", type=Names(), default=tuple(months.MEASURED_S), show_default=True, help="Recovery policies."
)
@click.option(
    "--spares", type=click.IntRange(min=0), default=64, show_default=True, help="Spare nodes, for policy spare."
)
@click.option("--length", type=Positive(), default="30 days", show_default=True, help="Length of the job.")
@click.option(
    "--step", type=Positive(), default="1 s", show_default=True, help="Length of one step; a failure undoes it."
)
@click.option("--checkpoint", type=Positive(), default="60 s", show_default=True, help="Time to write a "
              "checkpoint, for restart.")  # fmt: skip
@click.option("--recovery-time", type=Positive(), help="Recovery time for every policy; absent: as --costs says.")
@click.option("--costs", metavar="RUN", help="Drill, matrix or soak whose median recovery times are used. Absent "
              f"there, or here: medians of {months.SOURCE}.")  # fmt: skip
@click.option(
    "--draws", type=click.IntRange(min=1, max=10_000), default=100, show_default=True, help="Number of random months."
)
@sharing("seed")
@reporting("month", "Say what would be simulated, and simulate nothing.")
def month(
    nodes: int, mtbf: float, recovery: tuple[str, ...], spares: int, length: float, step: float, checkpoint: float,
    recovery_time: float | None, costs: str | None, draws: int, seed: int, report: Report,
) -> None:  # fmt: skip
    """Simulate a month of failures: goodput, the share lost, and the best checkpoint interval, for each policy."""
    if costs is not None and recovery_time is not None:
        raise UsageError("--costs and --recovery-time both give the recovery time, got both: leave one out")
    known = {} if costs is None else months.costs_of(costs)
    asked = months.Month(nodes, mtbf, spares, length, step, checkpoint, recovery_time, known, f"{costs}", draws, seed)
    if report.dry_run:
        months.compare(replace(asked, draws=1), recovery)
        click.echo(f"{nodes} nodes, each with an MTBF of {format_time(mtbf)}: {asked.failures:.3g} failures in "
                   f"{format_time(length)}; {draws} such months are drawn")  # fmt: skip
        for name in recovery:
            click.echo(f"{name}: {policies.of(name).about}; a recovery takes {format_time(asked.recovery(name))} "
                       f"({asked.source(name)})")  # fmt: skip
        return
    with report.begun(1, clock="simulated"):
        rows = months.compare(asked, recovery)
        told = {"nodes": nodes, "mtbf_s": mtbf, "length_s": length, "step_s": step, "checkpoint_s": checkpoint,
                "draws": draws}  # fmt: skip
        report.save(month={**told, "rows": rows})
        report.show()
