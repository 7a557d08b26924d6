"""Parse a fault line: `KIND TARGET @ WHEN [for DURATION] [by FACTOR] [in memory|message]`.

    KIND     one of `faults.plan.kinds`
    TARGET   RANKS | UNIT RANKS | nic RANK | random | server | worker | coordinator
             | SIDE '|' SIDE (cut, both ways) | SIDE '>' SIDE (cut, one way)
    SIDE     RANKS | UNIT RANKS
    UNIT     host | rack | region
    RANKS    3 | 0-3 | 0-3,7
    WHEN     step N [phase NAME] [+ TIME] | phase NAME [+ TIME] | recovery [+ TIME]
             | time TIME | emulated TIME | rate NUMBER/UNIT
    TIME     2 s | 300 us | 1 d: a number and a unit of `emulator.units`
    FACTOR   4 | -1 | 1/10 | 5 % | random | nan

`flip ... in message` spoils the next message to the rank instead of its state;
`preempt ... for 2 s` kills a rank that has not left by then; `slow ... by 4` computes four times slower;
`cut ... by 3` cuts and heals three times within its duration;
`lose 3 ... by 5 %` loses messages, `lose nic 3 ... by 10` leaves a tenth of the NIC's speed;
`lie ... by -1` flips signs, `by 10` scales, `by random` and `by nan` replace the values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from emulator.errors import UsageError
from emulator.units import SECONDS, TIME_HELP, parse_time
from faults.plan.kinds import KINDS, Factor, Kind
from faults.plan.model import ROLES, UNITS, Fault, Target, When

_TOKEN = re.compile(r"[^\W\d]\w*|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\S")
_TIMES = ("step", "phase", "recovery", "time", "emulated", "rate")
_HIGHEST_RANK, _LAST_STEP, _LONGEST_S = 10**6, 10**12, 1e9  # a typing error must not fill the memory


def parse(line: str) -> Fault:
    """Read one fault line.

    Raises
    ------
    UsageError
        The line does not parse: the message names the column and the legal words.
    """
    return _Reader(line).fault()


class _Reader:
    """A recursive-descent parser of the words of one line."""

    def __init__(self, line: str) -> None:
        self.line = line.strip()
        self.tokens = list(_TOKEN.finditer(self.line))
        self.at = 0

    # -- words -------------------------------------------------------------------------------------
    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, *words: str) -> str | None:
        """Take the next word if it is one of `words`."""
        if self.peek() in words and self.peek():
            self.at += 1
            return self.tokens[self.at - 1][0]
        return None

    def fail(self, legal: str | Sequence[str]) -> UsageError:
        if not isinstance(legal, str):
            legal = ", ".join(legal[:-1]) + " or " + legal[-1] if len(legal) > 1 else legal[0]
        column = (self.tokens[self.at].start() if self.at < len(self.tokens) else len(self.line)) + 1
        got = repr(self.peek()) if self.peek() else "the end of the line"
        return UsageError(f"fault {self.line!r}, column {column}: expected {legal}, got {got}")

    def expect(self, *words: str) -> str:
        word = self.take(*words)
        if word is None:
            raise self.fail(words)
        return word

    def number(self, what: str) -> float:
        sign = -1.0 if self.take("-") else 1.0
        try:
            value = float(self.peek())
        except ValueError:
            raise self.fail(what) from None
        self.at += 1
        return sign * value

    def whole(self, what: str, most: int) -> int:
        if not self.peek().isdecimal():
            raise self.fail(what)
        if len(self.peek()) > len(str(most)) or int(self.peek()) > most:
            raise self.fail(f"{what}, up to {most}")
        self.at += 1
        return int(self.tokens[self.at - 1][0])

    def time(self, above_zero: bool = False) -> float:
        start = self.at
        value = self.number("a time such as 300 us or 2 s")
        unit = self.time_unit()
        # What is not finite or below 0 is refused here, where the column is known.
        seconds = parse_time(f"{value!r} {unit}") if 0 <= value <= _LONGEST_S / 1e-9 else math.nan
        if not 0 <= seconds <= _LONGEST_S or (above_zero and seconds == 0):
            self.at = start
            raise self.fail(f"a time {'above 0' if above_zero else '>= 0'} and up to {_LONGEST_S:.0e} s")
        return seconds

    def time_unit(self) -> str:
        unit = self.take(*SECONDS)
        if unit is None:
            raise self.fail(f"a unit of time: {TIME_HELP}")
        return unit

    # -- parts -------------------------------------------------------------------------------------
    def fault(self) -> Fault:
        kind = KINDS[self.expect(*filter(str.isidentifier, KINDS))]
        target = self.target(kind)
        self.expect("@")
        when = self.when()
        duration, factor = self.modifiers(kind, target)
        if self.take("in"):
            kind = KINDS[kind.in_message] if self.expect("memory", "message") == "message" else kind
            if self.peek():
                raise self.fail("the end of the line")
        self._check(kind, target)
        return Fault(self.line, kind, target, when, duration, factor)

    def target(self, kind: Kind) -> Target:
        if self.take("random"):
            return Target(random=True)
        if self.take("nic"):
            return Target(ranks=self.ranks(), nic=True)
        if role := self.take(*ROLES):
            return Target(role=role)
        if not self.peek().isdecimal() and self.peek() not in UNITS:
            raise self.fail(["a rank (3, 0-3 or 0-3,7)", *(f"{unit} N" for unit in UNITS), "nic N", "random", *ROLES])
        unit = self.take(*UNITS)
        ranks = self.ranks()
        if not kind.two_sides:
            return Target(hosts=ranks, unit=unit) if unit else Target(ranks)
        direction = self.expect("|", ">")
        other_unit = self.take(*((unit,) if unit else UNITS))
        others = self.ranks()
        return Target(
            () if unit else ranks, ranks if unit else (), () if other_unit else others, others if other_unit else (),
            unit or other_unit or UNITS[0], one_way=direction == ">",
        )  # fmt: skip

    def ranks(self) -> tuple[int, ...]:
        found: set[int] = set()
        while True:
            first = self.whole("a rank such as 3 or 0-3", _HIGHEST_RANK)
            last = self.whole("the last rank of a range such as 0-3", _HIGHEST_RANK) if self.take("-") else first
            if last < first:
                self.at -= 1
                raise self.fail(f"a range that ends at {first} or later")
            found.update(range(first, last + 1))
            if not self.take(","):
                return tuple(sorted(found))

    def when(self) -> When:
        word = self.expect(*_TIMES)
        if word == "time":
            return When(time_s=self.time())
        if word == "emulated":
            return When(emulated_s=self.time())
        if word == "rate":
            return When(rate_hz=self.rate())
        step = self.whole("a step, counted from 0", _LAST_STEP) if word == "step" else None
        phase = self.name() if word == "phase" or (word == "step" and self.take("phase")) else None
        offset = self.time() if self.take("+") else 0.0
        return When(step=step, phase=phase, recovery=word == "recovery", offset_s=offset)

    def name(self) -> str:
        if not self.peek().isidentifier():
            raise self.fail("the name of a phase such as all_gather, agree or restore")
        self.at += 1
        return self.tokens[self.at - 1][0]

    def rate(self) -> float:
        value = self.number("a rate such as 0.1/s")
        self.expect("/")
        unit = self.time_unit()
        if not 0 < value < math.inf:
            self.at -= 3
            raise self.fail("a rate > 0")
        return value / float(SECONDS[unit])

    def modifiers(self, kind: Kind, target: Target) -> tuple[float | None, float | str | None]:
        duration: float | None = None
        rule = kind.nic_factor if target.nic else kind.factor
        factor: float | str | None = rule.default if rule else None
        legal = [word for word, ok in (("for", kind.lasts), ("by", rule), ("in", kind.in_message)) if ok]
        legal.append("the end of the line")
        while self.peek() and not (kind.in_message and self.peek() == "in"):
            word = self.take(*legal)
            if word is None:
                raise self.fail(legal)
            legal.remove(word)
            if word == "for":
                duration = self.time(above_zero=True)
            elif rule:
                factor = self.factor(kind.name, rule)
        return duration, factor

    def factor(self, kind: str, rule: Factor) -> float | str:
        if word := self.take(*rule.words):
            return word
        start = self.at
        words = f", {' or '.join(rule.words)}" if rule.words else ""
        value = self.number(f"a factor such as 4, 1/10 or 5 %{words}")
        if self.take("/"):
            divisor = self.number("a number > 0")
            if divisor <= 0:
                self.at -= 1
                raise self.fail("a number > 0")
            value /= divisor
        elif self.take("%"):
            value /= 100
        if not rule.obeys(value) or not math.isfinite(value):
            self.at = start
            raise self.fail(f"a factor {rule.rule} for {kind}")
        return value

    def _check(self, kind: Kind, target: Target) -> None:
        if kind.two_sides and not (target.others or target.other_hosts):
            sides = "two sides, e.g. 0-3|4-7, 0>1 (one way) or host 0|host 1"
            raise UsageError(f"fault {self.line!r}: {kind.name} needs {sides}")
        if target.nic and kind.nic_factor is None:
            able = ", ".join(one.name for one in KINDS.values() if one.nic_factor)
            raise UsageError(f"fault {self.line!r}: nic goes with {able} only, e.g. lose nic 3 @ step 5 by 10")
