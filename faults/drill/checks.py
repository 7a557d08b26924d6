"""Check a finished job by the files that its ranks left; mpirun's exit status proves nothing."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.policies import named
from faults.drill import phase_checks, timeline
from faults.drill.timeline import Episode, Record
from faults.launch.supervise import Finished
from faults.launch.watchdog import BY_ITSELF
from faults.patterns import catalogue
from faults.record.journal import PHASE_ENDS, What

CHECKS = {
    "finished": "a result file of a rank that reached the end",
    "faults fired": "every fault fired",
    "commits": "every step is committed once",
    "deaths": "the dead are those of the plan",
    "leftovers": "no process is left",
    "phases": "the phases of each recovery add up to its time",
}
"""What is checked of every drill, beside the result."""

_CRASH = re.compile(r"Signal: ([^(\n]+) \(\d+\)(?:(?!End of error message).)*?\(P?(MPIX?_\w+)\+", re.DOTALL)
"""What Open MPI prints when a rank gets a signal such as SIGSEGV: which, and the stack with the call of MPI."""


@dataclass
class Evaluation:
    """The checks of one job and what its recoveries cost.

    `checks` maps each check to whether it held and to what was seen; `phase` and `reason` say where a failed drill
    stopped; `seconds` is the length of the whole job.
    """

    recovered: bool
    checks: dict[str, tuple[bool, str]]
    episodes: list[Episode]
    throughput: dict[str, float | None]
    ranks_after: int
    seconds: float
    phase: str = ""
    reason: str = ""
    joins: list[timeline.Join] = field(default_factory=list)
    fired: list[dict[str, Any]] = field(default_factory=list)

    @property
    def recovery_seconds(self) -> float | None:
        """Total time of all recoveries; None without one."""
        return sum(e.seconds for e in self.episodes) if self.episodes else None

    @property
    def phases(self) -> dict[str, float]:
        return {p: sum(e.phases[p] for e in self.episodes) for p in PHASE_ENDS} if self.episodes else {}

    @property
    def lost_steps(self) -> int:
        return sum(e.lost_steps for e in self.episodes)


def evaluate(finished: Finished) -> Evaluation:
    """Check a finished job against its plan and its pattern's oracle."""
    records, spec, pattern = finished.records, finished.spec, catalogue.of(finished.spec)
    final = [v for v in finished.results if v["attempt"] == spec.attempt]
    found = timeline.episodes(records)
    fired = _fired(finished)
    checks = {
        "finished": (bool(final), f"{len(final)} ranks left a result"),
        "faults fired": (all(f["fired"] for f in fired), _count(fired)),
        "result": pattern.matches(spec, finished.folder, final) if final else (False, "no rank left a result"),
        "commits": _committed_once(records, spec.attempt, spec.steps) if final else (False, "the job did not end"),
        "deaths": _dead_as_injected(finished),
        "leftovers": (finished.leftovers == 0, f"{finished.leftovers} processes were left"),
        "phases": phase_checks.check(finished, found),
    }
    recovered = all(ok for ok, _ in checks.values())
    phase, reason = ("", "") if recovered else _where_it_stopped(finished, checks)
    working = [v for v in final if v.get("place") is not None]
    throughput, seconds = timeline.throughput(records, found), finished.ended - finished.began
    return Evaluation(
        recovered, checks, found, throughput, len(working), seconds, phase, reason, timeline.joins(records), fired
    )


def _fired(finished: Finished) -> list[dict[str, Any]]:
    """For each fault line, whether all of its events happened, and when the first did (s since the drill began)."""
    struck = timeline.struck(finished.records)
    lines: dict[str, list[float | None]] = {}
    rated = {e.text for e in finished.spec.events if e.rated}
    for event in finished.spec.events:
        lines.setdefault(event.text, []).append(struck.get(event.ident))
    return [
        {
            "text": text,
            # Of a rate's events only those within the run can have fired.
            "fired": any(at is not None for at in instants) if text in rated else None not in instants,
            "at": min((at - finished.began for at in instants if at is not None), default=None),
        }
        for text, instants in lines.items()
    ]


def _count(fired: Sequence[dict[str, Any]]) -> str:
    missing = [f["text"] for f in fired if not f["fired"]]
    return f"{len(fired) - len(missing)} of {len(fired)}" + (f", not: {'; '.join(missing)}" if missing else "")


def _committed_once(records: Sequence[Record], last_attempt: int, steps: int) -> tuple[bool, str]:
    """Whether the final history has each step once; a later launch replaces it from the step where it resumed."""
    history: list[int] = []
    for attempt in range(last_attempt + 1):
        resumed = [r["step"] for r in records if (r["what"], r["attempt"]) == (What.RESUMED, attempt)]
        if resumed:
            history = [step for step in history if step < min(resumed)]
        per_member = _commits_of(records, attempt)
        for member, done in per_member.items():
            if done != list(range(done[0], done[-1] + 1)):
                return False, f"rank {member} committed {_odd(done)}"
        history += sorted({step for done in per_member.values() for step in done} - set(history))
    if history != list(range(steps)):
        return False, f"{len(history)} of {steps} steps are in the history"
    for member, done in _commits_of(records, last_attempt, leavers=True).items():
        if done[-1] != steps - 1:
            return False, f"rank {member} left after step {done[-1]} of {steps}"
    late = _late_commits(records)
    return (not late, late or f"{steps} of {steps}, each once")


def _commits_of(records: Sequence[Record], attempt: int, leavers: bool = False) -> dict[int, list[int]]:
    """Each member's committed steps in order; with `leavers` only of members that left by themselves."""
    left = {r["member"] for r in records if (r["what"], r["attempt"]) == (What.LEFT, attempt)}
    found: dict[int, list[int]] = {}
    for r in records:
        if r["attempt"] != attempt or (leavers and r["member"] not in left):
            continue
        if r["what"] == What.COMMIT:
            found.setdefault(r["member"], []).append(r["step"])
        elif r["what"] == What.ROLLED_BACK:  # to a checkpoint on disk: later steps are no part of the history
            found[r["member"]] = [step for step in found.get(r["member"], []) if step < r["step"]]
    return found


def _odd(done: list[int]) -> str:
    twice = [step for step, times in Counter(done).items() if times > 1]
    return f"step {twice[0]} {Counter(done)[twice[0]]} times" if twice else "steps with a gap"


def _late_commits(records: Sequence[Record]) -> str:
    """Describe a commit by a rank after its death; empty if there is none."""
    for death in timeline.deaths(records):
        mine = [r for r in records if (r["member"], r["attempt"]) == (death.member, death.attempt)]
        late = [r for r in mine if r["what"] == What.COMMIT and r["at"] > death.gone]
        if late:
            return f"rank {death.member} committed step {late[0]['step']} after it was gone"
    return ""


def _dead_as_injected(finished: Finished) -> tuple[bool, str]:
    """Whether exactly the ranks of the plan died; any other one has crashed."""
    records, last = finished.records, finished.spec.attempt
    for attempt in range(last):
        begun = any((r["what"], r["attempt"]) == (What.STARTED, attempt) for r in records)
        if begun and not any(death.attempt == attempt for death in timeline.deaths(records)):
            return False, f"launch {attempt} ended without a fault"
    injected = {d.member for d in timeline.deaths(records)}
    joined = {r["member"] for r in records if r["what"] == What.JOINED}
    # A process that was being spawned when a rank died is abandoned, and another one is spawned.
    started = {
        r["member"]
        for r in records
        if (r["what"], r["attempt"]) == (What.STARTED, last)
        and (r["member"] < finished.spec.world or r["member"] in joined)
    }
    left = {r["member"] for r in records if r["what"] == What.LEFT and r["attempt"] == last}
    dead = started - left
    meant = injected & started if not finished.spec.policy.relaunches else set()
    if dead != meant:
        said = _last_words(finished.folder) if dead - meant else ""
        return False, f"dead are {sorted(dead)}, injected were {sorted(meant)}{said}"
    return True, f"{sorted(injected)} as injected" if injected else "none"


def _last_words(folder: Path) -> str:
    """A rank's crash in a call of MPI, else the last line of the job's output; and the file that has it."""
    output = folder / "output.txt"
    text = output.read_text(errors="replace") if output.exists() else ""
    if crash := _CRASH.search(text):
        return f": a rank crashed in {crash[2]} ({crash[1]}; {output})"
    last = next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")
    return f": {last} ({output})" if last else ""


def _of_mpirun(status: int | None, folder: Path) -> str:
    if status is not None and status < 0:
        crash = signal.Signals(-status).name
        able = named(lambda one: one.relaunches)
        return f"mpirun itself crashed ({crash}), which no job survives: --recovery {able} launches it again"
    return f"mpirun returned {status} and no rank left a result{_last_words(folder)}"


def _where_it_stopped(finished: Finished, checks: dict[str, tuple[bool, str]]) -> tuple[str, str]:
    """The phase in which a drill failed, and why, in words."""
    lost = next((r for r in finished.records if r["what"] == What.LOST), None)
    if lost is not None:
        return lost["phase"], lost["reason"]
    last = finished.endings[-1]
    if not checks["finished"][0]:
        following = dict(zip(PHASE_ENDS.values(), list(PHASE_ENDS)[1:], strict=False))
        # While the launcher kills one rank after the other, those left may notice and agree.
        reached = [r["what"] for r in finished.records if r["what"] in following and r["at"] <= last.at]
        phase = following[reached[-1]] if reached else "detect"
        why = last.why if last.why != BY_ITSELF else _of_mpirun(last.status, finished.folder)
        return phase, "; ".join([why, *last.waits[:2]])
    broken = [f"{name}: {text}" for name, (ok, text) in checks.items() if not ok]
    return "check", "; ".join(broken)
