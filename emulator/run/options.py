"""The command line that every demo shares.

A demo is a file with a docstring and::

    @demo("ring", needs=2)
    @click.option("--t-comp", default="1 s")
    def main(run: Run, t_comp: str) -> None: ...

    if __name__ == "__main__":
        main()

Started by mpirun it runs; started plainly with ``-n N`` it starts mpirun itself. Errors are one line and an
exit status: 1 a wrong result or a failed check, 2 bad usage or bad input.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from emulator import units
from emulator.errors import UsageError, check_directory
from emulator.launch import mpirun
from emulator.launch.job import inside
from emulator.run import launches as several
from emulator.run.one_line import OneLineCommand


class Parsed(click.ParamType):
    """A click type that uses one of the parsers of `emulator.units`."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.parse(value) if isinstance(value, str) else value


def _parse_budget(text: str) -> float:
    """Seconds of a plain number, as the option's unit is seconds, or of a time with its unit."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = units.parse_time(text)
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--budget is a finite number of seconds > 0, got {text!r}: write e.g. 40 or '2 min'")
    return seconds


SIZES = Parsed("sizes", units.parse_sizes)
SIZE = Parsed("size", units.parse_size)
RANKS = Parsed("ranks", units.parse_ranks)
TIME = Parsed("time", units.parse_time)
SHARE = Parsed("share", units.parse_fraction)
PACE = Parsed("pace", units.parse_pace)
BUDGET = Parsed("seconds", _parse_budget)


COMMON: dict[str, dict[str, Any]] = {
    "-n": {"type": click.IntRange(min=1), "metavar": "N", "help": "Start mpirun with N ranks."},
    "net": {"metavar": "NAME|FILE.toml", "help": "Emulated network (see 'python -m emulator networks'); absent: "
            "the transport as it is."},
    "pace": {"type": PACE, "default": "none", "metavar": "auto|none|K",
             "help": "With --net: wall seconds per emulated second; none holds nothing back."},
    "simulate": {"type": click.IntRange(min=1), "metavar": "P", "help": "With --net: simulate P ranks in this "
                 "process, in virtual time and without mpirun."},
    "compute": {"type": click.Choice(["measured", "none"]), "default": "none",
                "help": "With --net: whether a rank's own CPU time advances the emulated clock."},
    "sizes": {"type": SIZES, "help": "Sizes: 8,1K,64K or 8:8M (doubling)."},
    "ranks": {"type": RANKS, "help": "Rank counts measured in this run, such as 2,4,8,16."},
    "budget": {"type": BUDGET, "metavar": "SECONDS",
               "help": "Wall time to spend on measuring: seconds, or a time with its unit. Every job runs at least "
               "twice, whatever the budget."},
    "seed": {"type": click.IntRange(min=0), "default": 0, "help": "Of everything that is drawn at random."},
    "out": {"metavar": "DIR", "help": "Run folder; absent: runs/<name>/<UTC time>."},
    "json": {"metavar": "FILE", "help": "Write the result to this file as well."},
    "trace": {"is_flag": True, "help": "Record what each rank does when (see 'python -m emulator trace')."},
    "trace-limit": {"type": click.IntRange(min=1), "metavar": "EVENTS",
                    "help": "With --trace: events of each rank that are kept, the last ones."},
    "quiet": {"is_flag": True, "help": "Print nothing but errors."},
    "full": {"is_flag": True, "help": "Print everything instead of one screen."},
}  # fmt: skip
"""The options that commands share: their attributes by name."""


def common_options(*names: str, **changed: dict[str, Any]) -> list[click.Parameter]:
    """The options that commands share, all or those of `names`, with attributes `changed` by name."""
    made: list[click.Parameter] = []
    for name in names or COMMON:
        attributes = COMMON[name] | changed.get(name, {})
        words = ["-n", "launch_ranks"] if name == "-n" else [f"--{name}"]
        shown = "default" in attributes and not attributes.get("is_flag")
        made.append(click.Option(words, show_default=shown, **attributes))
    return made


def sharing(*names: str, **changed: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a click command some of the shared options, as `common_options` makes them."""

    def decorate(function: Any) -> Any:
        own = getattr(function, "__click_params__", [])
        function.__click_params__ = own + common_options(*names, **changed)[::-1]
        return function

    return decorate


def refuse_idle_limit(trace: bool, trace_limit: int | None) -> None:
    """Reject --trace-limit without --trace, where it would have no effect."""
    if trace_limit is not None and not trace:
        raise UsageError(f"--trace-limit is for --trace, got --trace-limit {trace_limit} alone: add --trace")


def _given(*names: str) -> list[click.Parameter]:
    """Those of the named parameters that were given on the command line."""
    ctx = click.get_current_context()
    return [
        option for option in ctx.command.params
        if option.name in names and ctx.get_parameter_source(option.name) is click.core.ParameterSource.COMMANDLINE
    ]  # fmt: skip


def refuse_idle(net: str | None) -> None:
    """Reject --pace and --compute without --net, where they would have no effect."""
    values = click.get_current_context().params
    refuse_idle_limit(values["trace"], values["trace_limit"])
    for option in _given("pace", "compute") if net is None else ():
        raise UsageError(
            f"--{option.name} is about emulated time and goes with --net, got --{option.name} {values[option.name]} "
            "without: add --net NAME, or leave it out"
        )


def refuse_inside() -> None:
    """Reject --simulate under mpirun, where each process would simulate all ranks."""
    if inside():
        raise UsageError("--simulate runs all ranks in one process, got it under mpirun: start it without mpirun")


def refuse_beside_simulate(*names: str) -> None:
    """Reject mpirun, and those of the named parameters that were given, together with --simulate."""
    refuse_inside()
    for option in _given(*names):
        raise UsageError(f"{option.opts[0]} is for ranks of MPI, not for --simulate, got both: leave one out")


def _refuse_without_simulate(names: Sequence[str]) -> None:
    """Reject those of the named parameters that were given without --simulate."""
    for option in _given(*names):
        raise UsageError(f"{option.opts[0]} is for simulated ranks, got it without --simulate: leave it out")


def demo(
    name: str,
    *,
    needs: int = 2,
    why: str = "",
    sizes: str = "8:8M",
    budget: float = 40.0,
    launches: bool = False,
    simulated_only: Sequence[str] = (),
) -> Callable[[Callable[..., None]], click.Command]:
    """Make ``main(run, **own_options)`` a command with the common options.

    Parameters
    ----------
    name : of the run folder and the result's ``demo``
    needs, why : the fewest ranks that make sense, and what they are for
    sizes, budget : defaults of ``--sizes`` and ``--budget`` (seconds)
    launches : whether several launches can be one result (see `emulator.run.launches`)
    simulated_only : its own flags that mean nothing to ranks of MPI
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        def callback(launch_ranks: int | None, **options: Any) -> None:
            check_directory()
            refuse_idle(options["net"])
            simulated = options.pop("simulate")
            if simulated is None:
                _refuse_without_simulate(simulated_only)
            else:
                refuse_beside_simulate("launch_ranks", "launches", "alone", "pace")
            asked = options.pop("launches", None)
            if not simulated and not inside() and launch_ranks is not None:
                starts = several.count(asked, options["net"] is not None, options["trace"]) if launches else 1
                sys.exit(several.start(launch_ranks, starts, name, options["out"]))
            if asked is not None and several.current().of == 1 and asked != 1:
                raise UsageError(f"mpirun starts one launch, got --launches {asked}: python -m demos.{name} -n N")
            if not simulated and not inside() and needs > 1:
                reason = f" ({why})" if why else ""
                raise UsageError(
                    f"demos.{name} needs at least {needs} ranks{reason}, got 1: start it with 'mpirun -n 16 python -m "
                    f"demos.{name}' or 'python -m demos.{name} -n 16'"
                )
            from emulator.run import execution
            from emulator.run.demo_run import CommonOptions

            common = CommonOptions(**{key: options.pop(key) for key in CommonOptions.__dataclass_fields__})
            if simulated is not None:
                sys.exit(execution.simulate(name, needs, simulated, common, lambda run: function(run, **options), why))
            sys.exit(execution.execute(name, needs, launch_ranks, common, lambda run: function(run, **options), why))

        command: click.Command = click.command(name=name, cls=OneLineCommand)(callback)
        command.help = (function.__doc__ or sys.modules[function.__module__].__doc__ or "").strip()
        own = list(reversed(getattr(function, "__click_params__", [])))
        command.params = own + common_options(sizes={"default": sizes}, budget={"default": budget})
        command.params += _launch_options() if launches else []
        return command

    return decorate


def _launch_options() -> list[click.Parameter]:
    return [
        click.Option(["--launches"], type=click.IntRange(1, 99), metavar="K", help="With -n: starts of mpirun that "
                     f"share the budget, each a sample. [default: {several.DEFAULT}; with --net and --trace 1]"),
        click.Option(["--alone"], is_flag=True, help="Under mpirun: leave out earlier runs of the same command in "
                     "runs/, which count as launches. A run with --out leaves them out, too."),
    ]  # fmt: skip


def relaunch(n: int) -> int:
    """Run this program under mpirun with `n` ranks; returns its exit status."""
    from emulator.launch import foreground  # with what it imports it takes 12 ms, and no rank starts a job

    return foreground.run_filtered(mpirun.command(n, mpirun.this_program()), rank_0_first=True)
