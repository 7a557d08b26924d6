"""The command-line options of a drill request, and their types."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from emulator.errors import UsageError
from emulator.run.options import COMMON, SIZE, refuse_beside_simulate, refuse_idle_limit
from emulator.units import parse_time
from faults.detect import DETECTORS
from faults.drill.job_spec import CHECKPOINT, LEVELS
from faults.drill.request import Request
from faults.drill.training import REDUCTIONS
from faults.patterns.catalogue import CATALOGUE
from faults.plan.files import read_lines
from primitives.federated.rules import RULES


def _name_of(param: click.Parameter | None) -> str:
    return param.opts[0] if param is not None else "this option"


class Names(click.ParamType):
    """One or several names with commas between them; to choose all, the option is left out."""

    name = "NAME,..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(",") if name.strip())
        if not names:
            raise UsageError(
                f"{_name_of(param)} takes one name or several with commas, got {value!r}: name one, or leave it out"
            )
        return names


class Positive(click.ParamType):
    """A time above 0, in seconds; 0 is rejected because it would mean the same as an absent option."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            seconds = parse_time(str(value))
        except UsageError as error:
            raise UsageError(f"{_name_of(param)}: {error}") from None
        if not seconds > 0:
            raise UsageError(
                f"{_name_of(param)} takes a time above 0, got {value!r}: write e.g. '2 s', or leave it out"
            )
        return seconds


def _option(flag: str, **attributes: Any) -> dict[str, Any]:
    return attributes | {"flag": flag}


def _whole(least: int) -> click.IntRange:
    return click.IntRange(min=least)


_ASKED: dict[str, dict[str, Any]] = {
    "ranks": _option("-n", type=_whole(2), default=8, show_default=True, help="Working ranks."),
    "simulate": _option("--simulate", type=_whole(2), metavar="P",
                        help="Simulate P working ranks in this process, in simulated time and without mpirun."),
    "faults": _option("--fault", multiple=True, metavar="LINE|FILE.toml",
                      help="A fault: KIND TARGET @ WHEN [for DURATION] [by FACTOR]; may be given several times."),
    "recovery": _option("--recovery", metavar="POLICY", help="Recovery policy; absent: the pattern's first one."),
    "spares": _option("--spares", type=_whole(0), help="Spare ranks; absent: 1 for --recovery spare."),
    "steps": _option("--steps", type=_whole(1), help="Steps of the job."),
    "repeat": _option("--repeat", type=_whole(1), default=1, show_default=True, help="Number of repeats of the drill."),
    "hosts": _option("--hosts", type=_whole(1),
                     help="Number of hosts, in even blocks of ranks, for `kill host N`; absent: the hosts of --net."),
    "real_hosts": _option("--real-hosts", is_flag=True,
                          help="Run on the two hosts of scripts/two-hosts; the loss of a host kills its daemon."),
    "net": _option("--net", **COMMON["net"]),
    "pace": _option("--pace", show_default=True, **COMMON["pace"]),
    "detector": _option("--detector", metavar="|".join(DETECTORS),
        help="Failure detector; absent: heartbeat where the plan has a hang, else runtime."),
    "limit_s": _option("--limit", type=Positive(),
                       help="Silence after which the detector declares a rank dead; absent: by ranks per core."),
    "deadline_s": _option("--deadline", type=Positive(), default="120 s", show_default=True,
                          help="Time limit of one launch."),
    "quorum_s": _option("--quorum", type=Positive(),
        help="Longest cut that stops no rank; a longer one stops the side without a quorum. Absent: both sides wait."),
    "trace": _option("--trace", **COMMON["trace"]),
    "trace_limit": _option("--trace-limit", **COMMON["trace-limit"]),
    "seed": _option("--seed", type=_whole(0), help="Seed of all random choices; absent: the plan file's, else 0."),
    # of the pattern
    "reduction": _option("--reduction", type=click.Choice(tuple(REDUCTIONS)),
                         help="Algorithm that adds the gradients of ring training."),
    "agree": _option("--agree-every", type=_whole(0),
        help="Steps between agreements (ring); absent: 0, only after a death and at the end (1 with --checkpoint)."),
    "checksum": _option("--checksum", is_flag=True, default=None,
        help="Compare checksums of the ranks' state and messages (ring), so that a flipped bit is detected."),
    "ballast": _option("--ballast", type=SIZE,
                       help="Extra bytes in the messages of some steps, to make them long."),
    "rule": _option("--rule", type=click.Choice(tuple(RULES)), help="Aggregation rule of the federated server."),
    "liars": _option("--liars", type=_whole(0), help="Number of lying clients that the rule must tolerate."),
    # of the checkpoints
    "levels": _option("--checkpoint", type=click.Choice(tuple(LEVELS)),
        help="Where ring training with spare or respawn saves private state of ranks: a buddy's memory, then disk."),
    "every": _option("--checkpoint-every", type=_whole(0), default=10, show_default=True,
                     help="Steps between checkpoints on disk; 0 (restart): by Daly's rule from --mtbf."),
    "keep": _option("--keep", type=_whole(1), default=2, show_default=True, help="Number of checkpoints kept on disk."),
    "background": _option("--background", is_flag=True, help="Write checkpoints in a thread."),
    "folder": _option("--checkpoints", metavar="DIR", help="Folder of the checkpoints; absent: in the run folder."),
    "mtbf_s": _option("--mtbf", type=Positive(), help="Mean time between failures, for --checkpoint-every 0."),
}  # fmt: skip
"""An option for each field of a `Request`, of its checkpoints (`CHECKPOINT`) and of its pattern's options."""

ALL = tuple(_ASKED)
ON_DISK = {name: _ASKED[name]["flag"] for name in ("folder", "every", "keep", "background", "mtbf_s")}
"""Options of checkpoints on disk, by their parameters' names."""


def requesting(*names: str, **changes: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options of a request; the function gets a `Request` in their place.

    Parameters
    ----------
    *names : keys of the options, in the order of the help
    **changes : by key: what differs from the option as it is elsewhere, its ``flag`` included
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**given: Any) -> None:
            asked = {name: given.pop(name) for name in names}
            function(request=_request_of(given.pop("pattern", None), asked), **given)

        for name in reversed(names):
            attributes = _ASKED[name] | changes.get(name, {})
            command = click.option(attributes.pop("flag"), name, **attributes)(command)
        return command

    return decorate


def _request_of(pattern: str | None, asked: dict[str, Any]) -> Request:
    """Make the request of these option values; reads the plan files."""
    faults, planned = read_lines(asked.pop("faults", ()))
    if asked.get("seed") is None:
        asked["seed"] = planned or 0
    refuse_idle_limit(asked.get("trace", False), asked.get("trace_limit"))
    known = {field.name for field in fields(Request)}
    own = {option for pattern in CATALOGUE.values() for option in pattern.options} - known
    levels = asked.pop("levels", None)
    if simulated := asked.get("simulate"):
        refuse_beside_simulate("ranks", "pace", "real_hosts")
        asked["ranks"] = simulated
    asked["simulate"] = simulated is not None
    return Request(
        pattern or Request.pattern,
        faults=[fault.text for fault in faults],
        options={name: asked[name] for name in own & asked.keys() if asked[name] is not None},
        checkpoint={"levels": LEVELS.get(levels, ())} | {key: asked[key] for key in CHECKPOINT.keys() & asked.keys()},
        **{name: asked[name] for name in known & asked.keys()},
    )
