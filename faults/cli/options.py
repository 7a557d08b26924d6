"""The options of a request and their types; an error names the option, the rule and the value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from emulator.errors import UsageError
from emulator.run.options import PACE, SIZE
from emulator.units import parse_time
from faults.detect import DETECTORS
from faults.drill.job_spec import CHECKPOINT, LEVELS
from faults.drill.request import Request
from faults.drill.training import REDUCTIONS
from faults.patterns.catalogue import CATALOGUE, RULES
from faults.plan import read_lines


def _name_of(param: click.Parameter | None) -> str:
    return param.opts[0] if param is not None else "this option"


class Names(click.ParamType):
    """Names with commas between them, at least one: who wants them all leaves the option out."""

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
    """A time above 0, in seconds: 0 would be taken for an option that is absent."""

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


def _option(*flags: str, **attributes: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return flags, attributes


def _whole(least: int) -> click.IntRange:
    return click.IntRange(min=least)


_ASKED = {
    "ranks": _option("-n", type=_whole(2), default=8, show_default=True, help="Ranks at work."),
    "faults": _option("--fault", multiple=True, metavar="LINE|FILE.toml",
                      help="KIND TARGET @ WHEN [for DURATION] [by FACTOR]; may be given several times."),
    "recovery": _option("--recovery", metavar="POLICY", help="How to recover; absent: the pattern's first policy."),
    "spares": _option("--spares", type=_whole(0), help="Ranks that wait; absent: 1 for --recovery spare."),
    "steps": _option("--steps", type=_whole(1), help="Steps of the job."),
    "repeat": _option("--repeat", type=_whole(1), default=1, show_default=True, help="Drills to run."),
    "hosts": _option("--hosts", type=_whole(1),
                     help="Hosts for `kill host N`, in even blocks of ranks; absent: --net's."),
    "real_hosts": _option("--real-hosts", is_flag=True,
                          help="Two hosts made by scripts/two-hosts; a host dies with its daemon."),
    "net": _option("--net", metavar="NAME|FILE.toml", help="Emulated network; absent: the transport as it is."),
    "pace": _option("--pace", type=PACE, default="none", metavar="auto|none|K", show_default=True,
                    help="Wall seconds per emulated second; none holds nothing back."),
    "detector": _option(
        "--detector", metavar="|".join(DETECTORS),
        help="Who says that a rank is dead; absent: heartbeats where the plan has a hang, else the runtime."),
    "limit_s": _option("--limit", type=Positive(), help="Silence that means death; absent: from the ranks per core."),
    "deadline_s": _option("--deadline", type=Positive(), default="120 s", show_default=True,
                          help="Longest time for one launch."),
    "seed": _option("--seed", type=_whole(0), help="Of every draw; absent: the plan file's, else 0."),
    # of the pattern
    "reduction": _option("--reduction", type=click.Choice(REDUCTIONS),
                         help="How the gradients of ring training are added."),
    "agree": _option(
        "--agree-every", type=_whole(0),
        help="Steps between agreements (ring); absent: 0, none before a death or the end (with --checkpoint 1)."),
    "ballast": _option("--ballast", type=SIZE,
                       help="Bytes that travel beside the work (not in every step), for long messages."),
    "rule": _option("--rule", type=click.Choice(RULES), help="How a federated server averages."),
    "liars": _option("--liars", type=_whole(0), help="Most clients that --rule median is to bear lying."),
    # of the checkpoints
    "levels": _option(
        "--checkpoint", type=click.Choice(tuple(LEVELS)),
        help="Where ring training by spare or respawn keeps what each rank alone has: a buddy's memory, then disk."),
    "every": _option("--checkpoint-every", type=_whole(0), default=10, show_default=True,
                     help="Steps between checkpoints on disk; 0 (restart): by Daly's rule from --mtbf."),
    "keep": _option("--keep", type=_whole(1), default=2, show_default=True, help="Checkpoints kept."),
    "background": _option("--background", is_flag=True, help="Write checkpoints in a thread."),
    "folder": _option("--checkpoints", metavar="DIR", help="Folder of the checkpoints; absent: in the run folder."),
    "mtbf_s": _option("--mtbf", type=Positive(), help="Mean time between failures, for --checkpoint-every 0."),
}  # fmt: skip
"""An option for each field of a `Request`, of its checkpoints (`CHECKPOINT`) and of its pattern's options."""

ALL = tuple(_ASKED)
ON_DISK = {name: _ASKED[name][0][0] for name in ("folder", "every", "keep", "background", "mtbf_s")}
"""Options of checkpoints on disk, by their parameters' names."""


def requesting(*names: str, **changes: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options of a request; the function gets a `Request` in their place.

    Parameters
    ----------
    *names
        Keys of the options, in the order of the help.
    **changes
        By key: what differs from the option as it is elsewhere, its ``flag`` included.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**given: Any) -> None:
            asked = {name: given.pop(name) for name in names}
            function(request=request_of(given.pop("pattern", None), asked), **given)

        for name in reversed(names):
            flags, attributes = _ASKED[name]
            changed = attributes | changes.get(name, {})
            command = click.option(changed.pop("flag", flags[0]), name, **changed)(command)
        return command

    return decorate


def request_of(pattern: str | None, asked: dict[str, Any]) -> Request:
    """The request that option values mean; plan files are read here."""
    faults, planned = read_lines(asked.pop("faults", ()))
    if asked.get("seed") is None:
        asked["seed"] = planned or 0
    known = {field.name for field in fields(Request)}
    own = {option for plan in CATALOGUE.values() for option in plan.options} - known
    levels = asked.pop("levels", None)
    return Request(
        pattern or Request.pattern,
        faults=[fault.text for fault in faults],
        options={name: asked[name] for name in own & asked.keys() if asked[name] is not None},
        checkpoint={"levels": LEVELS.get(levels, ())} | {key: asked[key] for key in CHECKPOINT.keys() & asked.keys()},
        **{name: asked[name] for name in known & asked.keys()},
    )
