"""Types of the fields of a network file, which parse units and check ranges; and the base class of its tables."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from emulator.errors import UsageError
from emulator.units import parse_fraction, parse_rate, parse_size, parse_time


def _beta(value: Any) -> float:
    return 1 / parse_rate(value)


def _share_below_one(text: str | float) -> float:
    share = parse_fraction(text)
    if share == 1:
        raise UsageError(f"must lie from 0 % to below 100 %, got {text!r}: write e.g. '1.5 %'")
    return share


def _bytes(text: str | int) -> int:
    size = parse_size(str(text))
    if size < 1:
        raise UsageError(f"must be at least 1 byte, got {text!r}: write e.g. '1460'")
    return size


Seconds = Annotated[float, BeforeValidator(parse_time)]
Beta = Annotated[float, BeforeValidator(_beta)]
Share = Annotated[float, BeforeValidator(_share_below_one)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, strict=True)]


class Section(BaseModel):
    """Base class of a table in a network file or a design sheet: unknown fields are refused with a suggestion."""

    # One validator is built, of the whole file: one per table would take a tenth of a second.
    model_config = ConfigDict(frozen=True, defer_build=True)
    holds: ClassVar[str] = "field"

    @model_validator(mode="before")
    @classmethod
    def _know_every_field(cls, values: Any) -> Any:
        legal = [field.alias or name for name, field in cls.model_fields.items()]
        for name in values if isinstance(values, dict) else ():
            if name not in legal:
                near = difflib.get_close_matches(name, legal, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "remove it."
                raise UsageError(f"there is no {cls.holds} {name!r} here: {hint} Legal: {', '.join(legal)}")
        return values
