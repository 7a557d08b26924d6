"""The input and the output of a reviewer's rule."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.design.model import Design, Facts
from emulator.design.prices.pricing import Priced
from emulator.design.sheets.sheet import Sheet


@dataclass(frozen=True)
class Finding:
    """A finding of the reviewer: slot, rule, figure and remedy.

    Attributes
    ----------
    rule : 1 to 17, as docs/design.md lists them
    slot : the table of the sheet that is to be opened again
    text : what the rule says of this sheet, with the figure
    remedy : what would be better
    error : whether the check fails; otherwise it is a question
    """

    rule: int
    slot: str
    text: str
    remedy: str
    error: bool = True


@dataclass(frozen=True, eq=False)
class Case:
    """The facts, design and prices that rules examine."""

    sheet: Sheet
    facts: Facts
    design: Design
    priced: Priced
    nodes: int

    @property
    def row(self) -> dict[str, float]:
        """The figures at the chosen p."""
        return self.priced.at(self.nodes)

    def how(self, exact: bool) -> str:
        """How the figures of a comparison were computed (by formula or message by message), for the sentence."""
        if self.facts.uniform:
            return ""
        return " (message by message)" if exact else " (by formulas of first order)"
