"""Types of options: what they refuse, they refuse with the option's name, the rule and the value."""

from __future__ import annotations

import click

from emulator.errors import UsageError
from emulator.units import parse_time


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
